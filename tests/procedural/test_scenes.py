"""The procedural scenes: exact geometry, determinism, free cameras, useful pictures."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.procedural import (
    HELD_OUT_SEED,
    ProceduralConfig,
    held_out_batch,
    render_batch,
    scene_batch,
)
from zipmap_jax.procedural.cameras import look_at
from zipmap_jax.procedural.primitives import (
    Primitives,
    distance,
    intersect,
    intersect_room,
)
from zipmap_jax.procedural.render import pixel_rays

CONFIG = ProceduralConfig(views=4, height=40, width=56)
BATCH = 8

cast = jax.jit(intersect, static_argnums=1)


@pytest.fixture(scope="module")
def scenes() -> dict[str, np.ndarray]:
    return jax.tree.map(np.asarray, scene_batch(CONFIG, seed=3, index=0, batch=BATCH))


@pytest.fixture(scope="module")
def second_half() -> dict[str, np.ndarray]:
    """The last scenes of `scenes`, drawn in a smaller batch and with smooth edges."""
    config = dataclasses.replace(CONFIG, supersample=2)
    return jax.tree.map(np.asarray, scene_batch(config, seed=3, index=1, batch=BATCH // 2))


def project(scenes: dict[str, np.ndarray], scene: int, a: int, b: int):
    """Points of view `a` in the pixels of view `b`: columns, rows, z-depths."""
    rows, columns = np.nonzero(scenes["valid"][scene, a])
    z = scenes["depth"][scene, a][rows, columns].astype(np.float64)
    ka, kb = scenes["intrinsics"][scene][[a, b]].astype(np.float64)
    camera = np.stack([(columns - ka[0, 2]) * z / ka[0, 0], (rows - ka[1, 2]) * z / ka[1, 1], z])
    a2b = scenes["w2c"][scene, b].astype(np.float64) @ np.linalg.inv(scenes["w2c"][scene, a])
    x, y, z = a2b[:3, :3] @ camera + a2b[:3, 3:]
    z = np.where(z > 1e-3, z, np.nan)
    return kb[0, 0] * x / z + kb[0, 2], kb[1, 1] * y / z + kb[1, 2], z


def corners(depth: np.ndarray, u: np.ndarray, v: np.ndarray):
    """Depths of the four pixels around (u, v), and depth interpolated as on a plane."""
    i, j = np.floor(v).astype(int), np.floor(u).astype(int)
    q = np.stack([depth[i, j], depth[i, j + 1], depth[i + 1, j], depth[i + 1, j + 1]])
    fu, fv = u - j, v - i
    weight = np.stack([(1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv])
    with np.errstate(divide="ignore", invalid="ignore"):  # sky has depth 0
        inverse = (weight / q).sum(0)  # the inverse depth of a plane is linear in the image
        return q, 1.0 / inverse


def test_shapes_and_ranges(scenes: dict[str, np.ndarray]) -> None:
    shape = (BATCH, CONFIG.views, CONFIG.height, CONFIG.width)
    assert scenes["images"].shape == (*shape, 3)
    assert scenes["depth"].shape == scenes["valid"].shape == shape
    assert scenes["intrinsics"].shape == (*shape[:2], 3, 3)
    assert scenes["w2c"].shape == (*shape[:2], 4, 4)
    assert scenes["valid"].dtype == bool
    assert {scenes[k].dtype for k in scenes if k != "valid"} == {np.dtype(np.float32)}
    assert scenes["images"].min() >= 0.0
    assert scenes["images"].max() <= 1.0
    # Pictures, not flat colours, neither black nor burnt out.
    assert scenes["images"].std((2, 3)).max(-1).min() > 0.02
    means = scenes["images"].mean((2, 3, 4))
    assert means.min() > 0.15
    assert means.max() < 0.9


def test_cameras_are_centred_pinholes_and_rigid(scenes: dict[str, np.ndarray]) -> None:
    k, rotation = scenes["intrinsics"], scenes["w2c"][..., :3, :3]
    np.testing.assert_array_equal(k[..., 0, 2], CONFIG.width / 2)
    np.testing.assert_array_equal(k[..., 1, 2], CONFIG.height / 2)
    fov = np.degrees(2 * np.arctan(0.5 * CONFIG.width / k[..., 0, 0]))
    assert fov.max() <= CONFIG.fov[1] + 1e-3
    assert fov.min() > 0.85 * CONFIG.fov[0]
    assert np.ptp(fov[:, 0]) > 10
    identity = np.broadcast_to(np.eye(3), rotation.shape)
    np.testing.assert_allclose(rotation @ rotation.swapaxes(-1, -2), identity, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-5)


def test_only_open_scenes_have_invalid_pixels(scenes: dict[str, np.ndarray]) -> None:
    depth, valid = scenes["depth"], scenes["valid"]
    np.testing.assert_array_equal(valid, depth > 0)
    assert depth.max() <= CONFIG.far
    sky = ~valid.all((1, 2, 3))
    assert 0 < sky.sum() < BATCH
    # Rooms are small.
    diagonal = np.linalg.norm([2 * CONFIG.room_half[1]] * 2 + [CONFIG.room_height[1]])
    assert depth[~sky].max() < diagonal


def test_scenes_depend_on_seed_and_number_only(scenes: dict[str, np.ndarray]) -> None:
    again = scene_batch(CONFIG, seed=3, index=0, batch=BATCH)
    jax.tree.map(np.testing.assert_array_equal, again, scenes)
    later = scene_batch(CONFIG, seed=3, index=1, batch=BATCH)
    other = scene_batch(CONFIG, seed=4, index=0, batch=BATCH)
    poses = np.concatenate([scenes["w2c"], later["w2c"], other["w2c"]]).reshape(3 * BATCH, -1)
    assert len(np.unique(poses.round(4), axis=0)) == 3 * BATCH


def test_scenes_do_not_depend_on_batching(
    scenes: dict[str, np.ndarray], second_half: dict[str, np.ndarray]
) -> None:
    np.testing.assert_allclose(second_half["w2c"], scenes["w2c"][BATCH // 2 :], atol=1e-5)
    close = np.abs(second_half["depth"] - scenes["depth"][BATCH // 2 :]) < 1e-3
    assert close.mean() > 0.999  # rounding may move an edge across a pixel


def test_held_out_scenes_are_fixed_and_apart_from_training() -> None:
    held = held_out_batch(CONFIG, index=0, batch=BATCH)
    jax.tree.map(np.testing.assert_array_equal, held, held_out_batch(CONFIG, 0, BATCH))
    train = scene_batch(CONFIG, HELD_OUT_SEED, index=0, batch=BATCH)
    poses = np.concatenate([held["w2c"], train["w2c"]]).reshape(2 * BATCH, -1)
    assert len(np.unique(poses.round(4), axis=0)) == 2 * BATCH


def test_a_point_seen_twice_has_one_place(scenes: dict[str, np.ndarray]) -> None:
    agreeing = visible = behind = ahead = seen = 0
    for scene in range(BATCH):
        for a, b in ((0, 1), (1, 0), (2, 3)):
            u, v, z = project(scenes, scene, a, b)
            inside = (u >= 0) & (v >= 0) & (u < CONFIG.width - 1) & (v < CONFIG.height - 1)
            u, v, z = u[inside], v[inside], z[inside]
            q, surface = corners(scenes["depth"][scene, b], u, v)
            # All four pixels around the point see one plane, where interpolation is exact.
            near = q.max(0) < 1.1 * q.min(0)
            inverse = 1 / np.where(near, q, 1.0)
            bend = np.abs(inverse[0] - inverse[1] - inverse[2] + inverse[3])
            flat = near & (bend * q.max(0) < 1e-4)
            ratio = surface[flat] / z[flat]
            seen += flat.sum()
            # Occlusion makes the rendered surface nearer than the point, never farther.
            ahead += (ratio > 1.01).sum()
            behind += (ratio < 0.99).sum()
            visible += (np.abs(ratio - 1) < 0.01).sum()
            agreeing += (np.abs(ratio - 1) < 1e-3).sum()
    assert seen > 10_000
    assert agreeing > 0.99 * visible
    assert visible > 2 * behind
    assert ahead < 1e-3 * seen  # a thin edge may pass between the pixels


def test_neighbouring_views_overlap(scenes: dict[str, np.ndarray]) -> None:
    shares = []
    for scene in range(BATCH):
        for a in range(CONFIG.views - 1):
            u, v, _ = project(scenes, scene, a, a + 1)
            inside = (u >= 0) & (v >= 0) & (u < CONFIG.width) & (v < CONFIG.height)
            shares.append(inside.mean())
    assert np.mean(shares) > 0.6
    assert np.quantile(shares, 0.1) > 0.25


def test_views_of_a_scene_differ(scenes: dict[str, np.ndarray]) -> None:
    centres = np.linalg.inv(scenes["w2c"])[..., :3, 3]
    baseline = np.linalg.norm(centres - centres[:, :1], axis=-1).max(-1)
    assert baseline.min() > 0.02
    assert np.ptp(baseline) > 0.5


def test_cameras_stay_out_of_objects(scenes: dict[str, np.ndarray]) -> None:
    depth = np.where(scenes["valid"], scenes["depth"], np.inf)
    # The nearest surface is a clearance away; the corner of a wide image has less depth than that.
    assert depth.min() > 0.3 * CONFIG.clearance


def test_supersampling_softens_colours(
    scenes: dict[str, np.ndarray], second_half: dict[str, np.ndarray]
) -> None:
    plain, smooth = scenes["images"][BATCH // 2 :], second_half["images"]
    assert 1e-4 < np.abs(smooth - plain).mean() < 0.05
    roughness = [np.abs(np.diff(images, axis=3)).mean() for images in (plain, smooth)]
    assert roughness[1] < roughness[0]


def test_render_batch_is_traceable() -> None:
    out = jax.eval_shape(lambda key: render_batch(key, CONFIG, 2), jax.random.key(0))
    assert out["images"].shape == (2, CONFIG.views, CONFIG.height, CONFIG.width, 3)


def test_config_refuses_empty_sizes() -> None:
    with pytest.raises(ValueError, match="views must be at least 1, got 0"):
        ProceduralConfig(views=0)
    with pytest.raises(ValueError, match="boxes must be at least 6, got 2"):
        ProceduralConfig(boxes=2)


def trio(half: list[list[float]], centre: list[list[float]], rotation: np.ndarray) -> Primitives:
    """One box, one sphere and one cylinder in a large room."""
    return Primitives(
        centre=jnp.array(centre),
        rotation=jnp.broadcast_to(jnp.asarray(rotation, jnp.float32), (3, 3, 3)),
        half=jnp.array(half),
        active=jnp.ones(3, bool),
        room_low=jnp.array([-50.0, -50.0, 0.0]),
        room_high=jnp.array([50.0, 50.0, 40.0]),
    )


def camera(position: list[float], target: list[float]):
    """Camera centre, world rays of unit depth and focal length of a 21 x 31 image."""
    w2c = look_at(jnp.array([position]), jnp.array([target]), jnp.zeros(1))[0]
    k = jnp.array([[25.0, 0, 15.5], [0, 25.0, 10.5], [0, 0, 1]])
    return jnp.array(position), w2c[:3, :3].T @ pixel_rays(k, 21, 31), 25.0


def test_depth_of_a_ball_is_analytic() -> None:
    objects = trio(
        [[1.0] * 3, [2.0] * 3, [1.0] * 3], [[90, 0, 0], [0, 0, 3], [99, 0, 0]], np.eye(3)
    )
    origin, rays, focal = camera([-7.0, 0.0, 3.0], [0.0, 0.0, 3.0])
    depth = np.asarray(cast(objects, (1, 1, 1), origin, rays))[1].reshape(21, 31)
    v, u = np.mgrid[:21, :31]
    x, y = (u - 15.5) / focal, (v - 10.5) / focal
    # |z r - 7 e_z| = 2 with r = (x, y, 1).
    a, b, c = x * x + y * y + 1, -7.0, 45.0
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num((-b - np.sqrt(b * b - a * c)) / a, nan=np.inf)
    np.testing.assert_array_equal(np.isfinite(depth), np.isfinite(expected))
    np.testing.assert_allclose(depth, expected, rtol=2e-5)
    assert np.isfinite(depth).any()


def test_depth_of_a_level_floor_is_analytic() -> None:
    objects = trio([[1.0] * 3] * 3, [[90, 0, 0]] * 3, np.eye(3))
    origin, rays, focal = camera([0.0, 0.0, 1.5], [5.0, 0.0, 1.5])
    depth = np.asarray(intersect_room(objects, origin, rays)).min(0).reshape(21, 31)
    below = np.arange(12, 21)
    expected = np.minimum(1.5 * focal / (below - 10.5), 50.0)
    np.testing.assert_allclose(depth[12:], np.repeat(expected[:, None], 31, 1), rtol=1e-5)


def test_rays_stop_on_turned_surfaces() -> None:
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    half = [[0.5, 1.0, 1.5], [1.0, 0.6, 1.3], [0.7, 0.9, 1.4]]
    objects = trio(half, [[0, -3, 5], [0, 0, 5], [0, 3, 5]], q)
    origin, rays, _ = camera([-8.0, 0.5, 5.5], [0.0, 0.0, 5.0])
    hits = np.asarray(cast(objects, (1, 1, 1), origin, rays))
    for kind in range(3):
        t = jnp.asarray(hits[kind][np.isfinite(hits[kind])])
        assert len(t) > 15
        ray = rays[:, np.isfinite(hits[kind])]

        def gap(t: jax.Array, kind: int = kind, ray: jax.Array = ray) -> jax.Array:
            points = (origin[:, None] + t[None] * ray).T
            return distance(
                jnp.int32(kind),
                objects.centre[kind],
                objects.rotation[kind],
                objects.half[kind],
                points,
            )

        np.testing.assert_allclose(gap(t), 0.0, atol=2e-5)
        assert gap(0.999 * t).min() > 0.0
        assert gap(t + 1e-3).max() < 1e-3


def test_absent_objects_and_objects_behind_are_not_hit() -> None:
    objects = trio([[1.0] * 3] * 3, [[5, 0, 2], [-5, 0, 2], [5, 0, 2]], np.eye(3))
    objects = objects._replace(active=jnp.array([False, True, True]))
    origin, rays, _ = camera([0.0, 0.0, 2.0], [1.0, 0.0, 2.0])
    hits = np.isfinite(np.asarray(cast(objects, (1, 1, 1), origin, rays)))
    np.testing.assert_array_equal(hits.any(-1), [False, False, True])
