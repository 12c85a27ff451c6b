from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.geometry import (
    crop_intrinsics,
    fov_from_intrinsics,
    intrinsics_from,
    intrinsics_from_fov,
    invert_pose,
    project,
    scale_intrinsics,
    unproject,
    unproject_to_world,
)

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "unit_geometry.npz") as z:
        return dict(z)


def test_known_fields_of_view():
    k = intrinsics_from_fov(np.array([0.9, 1.1]), (392, 518))
    expected = [[422.43973, 0, 259], [0, 405.75082, 196], [0, 0, 1]]
    np.testing.assert_allclose(k, expected, rtol=2e-6)
    np.testing.assert_allclose(fov_from_intrinsics(k, (392, 518)), [0.9, 1.1])


@pytest.mark.parametrize("xp", [np, jnp])
def test_recorded_unprojection(recorded, xp):
    names = ("depth", "intrinsics", "extrinsics")
    depth, intrinsics, w2c = (xp.asarray(recorded[f"in.unproject.{n}"]) for n in names)
    expected = recorded["out.unproject.w2c"]
    world = unproject_to_world(depth, intrinsics, w2c)
    np.testing.assert_allclose(world, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_recorded_unprojection_from_camera_to_world(recorded):
    names = ("depth", "intrinsics", "extrinsics")
    depth, intrinsics, c2w = (recorded[f"in.unproject.{n}"] for n in names)
    expected = recorded["out.unproject.c2w"]
    world = unproject_to_world(depth, intrinsics, invert_pose(c2w))
    np.testing.assert_allclose(world, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_projection_undoes_unprojection():
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 5, (2, 3, 4, 5))
    k = intrinsics_from(*rng.uniform(3, 9, (4, 2, 3)))
    pixels, z = project(unproject(depth, k), k)
    v, u = np.mgrid[:4, :5]
    np.testing.assert_allclose(
        pixels, np.broadcast_to(np.stack([u, v], -1), pixels.shape), atol=1e-12
    )
    np.testing.assert_array_equal(z, depth)


def test_points_behind_the_camera_have_no_pixel():
    pixels, z = project(np.array([[0.0, 0, -1], [0, 0, 0], [0, 0, 2]]), np.eye(3))
    assert np.isnan(pixels[:2]).all()
    np.testing.assert_array_equal(pixels[2], [0, 0])
    np.testing.assert_array_equal(z, [-1, 0, 2])


def test_scaling_keeps_edges_in_place():
    k = intrinsics_from(*np.array([500.0, 505, 322.3, 236.8]))
    scaled = scale_intrinsics(k, (0.5, 0.25))
    np.testing.assert_allclose(scaled[[0, 1], [0, 1]], [125, 252.5])
    np.testing.assert_allclose(scaled[:2, 2] + 0.5, [322.8 * 0.25, 237.3 * 0.5])
    np.testing.assert_allclose(scale_intrinsics(scaled, (2, 4)), k)
    middle = scale_intrinsics(intrinsics_from_fov(np.ones(2), (30, 40)), (2, 3), half_pixel=False)
    np.testing.assert_allclose(middle, intrinsics_from_fov(np.ones(2), (60, 120)))


def test_crop_moves_the_principal_point():
    k = intrinsics_from(*np.array([5.0, 6, 7, 8]))
    point = np.array([[0.4, -0.2, 2.0]])
    before, _ = project(point, k)
    after, _ = project(point, crop_intrinsics(k, top=3, left=-2))
    np.testing.assert_allclose(after, before - np.array([[-2, 3]]))
