"""Where patches look, in a frame that the order of the views does not change."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.data.datasets.procedural import ProceduralConfig, scene_batch
from zipmap_jax.geometry import nearest_rotation, query_frame, ray_conditions
from zipmap_jax.losses import Target, target_from_batch
from zipmap_jax.losses.patch_rays import patch_ray_loss, patch_rays

VIEWS, ROWS, COLUMNS = 4, 2, 3
PATCHES = ROWS * COLUMNS


def scenes(order: tuple[int, ...] = (0, 1, 2, 3)) -> Target:
    batch = scene_batch(ProceduralConfig(VIEWS, 28, 42), seed=3, index=0, batch=2)
    views = ("images", "depth", "valid", "intrinsics", "w2c")
    return target_from_batch({k: x[:, list(order)] if k in views else x for k, x in batch.items()})


def test_rays_meet_the_points_that_the_patches_show() -> None:
    """From the centre along the ray lies the surface, seen from every camera alike."""
    target = scenes()
    rays = np.asarray(patch_rays(target, PATCHES)).reshape(2, VIEWS, ROWS, COLUMNS, 6)
    np.testing.assert_allclose(np.linalg.norm(rays[..., :3], axis=-1), 1, atol=1e-5)
    for scene in range(2):
        w2c = np.asarray(target.w2c[scene], np.float64)
        mean = np.asarray(nearest_rotation(w2c[:, :3, :3].mean(0)))
        centres = np.stack([-w[:3, :3].T @ w[:3, 3] for w in w2c])
        for view in range(VIEWS):
            for row in range(ROWS):
                for column in range(COLUMNS):
                    pixel = np.array([column * 14 + 7, row * 14 + 7, 1.0])
                    k = np.asarray(target.intrinsics[scene, view], np.float64)
                    along = w2c[view, :3, :3].T @ np.linalg.solve(k, pixel)
                    expected = mean @ (along / np.linalg.norm(along))
                    place = mean @ (centres[view] - centres.mean(0))
                    got = rays[scene, view, row, column]
                    np.testing.assert_allclose(got[:3], expected, atol=2e-4)
                    np.testing.assert_allclose(got[3:], np.clip(place, -2, 2), atol=2e-4)


def test_the_frame_does_not_depend_on_the_order_of_the_views() -> None:
    order = (2, 0, 3, 1)
    there, here = (patch_rays(scenes(o), PATCHES) for o in (order, (0, 1, 2, 3)))
    # The unit is set by the first view, so only directions are the same.
    np.testing.assert_allclose(there[..., :3], here[:, list(order), :, :3], atol=1e-4)


def test_the_loss_counts_later_layers_more() -> None:
    target = scenes()
    truth = jnp.repeat(patch_rays(target, PATCHES)[:, :, None], 3, axis=2)
    assert float(patch_ray_loss(truth, target)) == pytest.approx(0, abs=1e-6)
    off = [
        float(patch_ray_loss(truth.at[:, :, layer, :, 0].add(0.3), target)) for layer in range(3)
    ]
    np.testing.assert_allclose(off, [0.025, 0.05, 0.1], rtol=1e-4)
    moved = float(patch_ray_loss(truth.at[:, :, 2, :, 3].add(0.3), target))
    assert moved == pytest.approx(0.05, rel=1e-4)


def test_gradients_are_finite_where_cameras_are_all_alike() -> None:
    target = scenes((1, 1, 1, 1))
    said = jnp.zeros((2, VIEWS, 2, PATCHES, 6))
    assert np.isfinite(jax.grad(patch_ray_loss)(said, target)).all()


def test_in_the_frame_of_queries_rays_are_those_that_rendered_views_are_told() -> None:
    target = scenes()
    rays = np.asarray(patch_rays(target, PATCHES, "query")).reshape(2, VIEWS, ROWS, COLUMNS, 6)
    _, cameras, _ = query_frame(target.w2c, target.w2c)
    told = np.asarray(ray_conditions(cameras, target.intrinsics, (28, 42)))
    # These are told rays half a pixel further right and down: ours lie between two of theirs.
    whole = (told[:, :, 6::14, 6::14] + told[:, :, 7::14, 7::14]) / 2
    np.testing.assert_allclose(rays[..., :3], whole[..., 3:6], atol=1e-3)
    np.testing.assert_allclose(rays[..., 3:], whole[..., :3], atol=1e-5)
    np.testing.assert_allclose(rays[:, 0, ..., 3:], 0, atol=1e-6)  # the first is the origin
    assert np.abs(rays[..., 3:]).max() == pytest.approx(1, abs=1e-5)
    said = jnp.asarray(rays).reshape(2, VIEWS, 1, PATCHES, 6)
    assert float(patch_ray_loss(said, target, "query")) == pytest.approx(0, abs=1e-6)
    assert float(patch_ray_loss(said, target)) > 0.01
