from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from zipmap_jax.geometry import (
    compose_poses,
    intrinsics_from,
    invert_pose,
    query_frame,
    ray_conditions,
    ray_directions,
    transform_points,
)

GOLDEN = Path(__file__).parent.parent / "golden"
KINDS = ["default_plucker", "custom_plucker", "aug_plucker", "plucker_and_common_origin"]


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "unit_geometry.npz") as z:
        return dict(z)


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_rays(recorded, kind):
    w2c = invert_pose(recorded["in.rays.c2w"])
    rays = ray_conditions(w2c, recorded["in.rays.intrinsics"], (12, 16), kind)
    close(rays, np.moveaxis(recorded[f"out.rays.{kind}"], 2, -1))


def test_recorded_rays_of_another_size(recorded):
    w2c, intrinsics = invert_pose(recorded["in.rays.c2w"]), recorded["in.rays.intrinsics"]
    rays = ray_conditions(w2c, intrinsics, (10, 24), intrinsics_size=(12, 16))
    close(rays, np.moveaxis(recorded["out.rays.resized_10x24"], 2, -1))


def test_known_ray():
    c2w = np.array([[0.0, -1, 0, 0.5], [1, 0, 0, -0.25], [0, 0, 1, 1]])
    intrinsics = intrinsics_from(*np.array([400.0, 410, 259, 196]))
    ray = ray_conditions(invert_pose(c2w), intrinsics, (392, 518))[10, 20]
    direction, moment = [0.3622161, -0.4773492, 0.8005856], [0.2772028, -0.0380767, -0.1481206]
    np.testing.assert_allclose(ray, [0.5, -0.25, 1, *direction, *moment], atol=2e-6)


def test_recorded_query_frame(recorded):
    """The recorded cameras are already in the first one's frame."""
    names = ("input_c2w", "target_c2w")
    chosen = [recorded[f"in.query.{n.split('_')[0]}_idx"] for n in names]
    c2w = recorded["out.norm.extrinsics_c2w"]
    picked = [np.take_along_axis(c2w, i[..., None, None], axis=1) for i in chosen]
    inputs, queries, scale = query_frame(*(invert_pose(p) for p in picked))
    close(scale, recorded["out.query.scale"])
    close(invert_pose(inputs)[..., :3, :], recorded["out.query.input_c2w"])
    close(invert_pose(queries)[..., :3, :], recorded["out.query.target_c2w"])


def test_query_frame_is_independent_of_the_world_frame(recorded):
    w2c = recorded["in.unproject.extrinsics"].astype(np.float64)
    world = np.broadcast_to(invert_pose(w2c[:1, 1:2]), (2, 3, 4, 4))
    moved = compose_poses(w2c, world)  # the same cameras, described in another world
    for a, b in zip(query_frame(w2c, w2c[:, 1:]), query_frame(moved, moved[:, 1:]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_points_along_a_ray_project_to_its_pixel(recorded):
    w2c, intrinsics = invert_pose(recorded["in.rays.c2w"]), recorded["in.rays.intrinsics"]
    origin, direction = ray_directions(w2c, intrinsics, (12, 16))
    np.testing.assert_allclose(np.linalg.norm(direction, axis=-1), 1, rtol=1e-6)
    camera = transform_points(w2c, origin + 3 * direction)
    pixel = camera[..., :2] / camera[..., 2:] * intrinsics[..., None, None, [0, 1], [0, 1]]
    pixel = pixel + intrinsics[..., None, None, :2, 2]
    v, u = np.mgrid[:12, :16]
    np.testing.assert_allclose(
        pixel, np.broadcast_to(np.stack([u, v], -1) + 0.5, pixel.shape), atol=1e-4
    )


def test_numpy_and_jax_agree(recorded):
    w2c, intrinsics = invert_pose(recorded["in.rays.c2w"]), recorded["in.rays.intrinsics"]
    ours = jax.jit(ray_conditions, static_argnames=("size", "kind"))(w2c, intrinsics, size=(12, 16))
    assert isinstance(ours, jax.Array)
    close(ours, ray_conditions(w2c, intrinsics, (12, 16)))


@pytest.mark.wrong_types
def test_unknown_kind(recorded):
    with pytest.raises(ValueError, match="relative_ray"):
        ray_conditions(np.eye(4), np.eye(3), (2, 2), "relative_ray")  # pyright: ignore
