"""Rays of patches, in a frame that is independent of the order of the views."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.geometry import nearest_rotation
from zipmap_jax.losses import Target, target_from_batch
from zipmap_jax.losses.patch_rays import RaysFrame, patch_ray_loss, patch_rays
from zipmap_jax.procedural import ProceduralConfig, scene_batch

VIEWS, ROWS, COLUMNS = 4, 2, 3
PATCHES = ROWS * COLUMNS


def scenes(order: tuple[int, ...] = (0, 1, 2, 3)) -> Target:
    batch = scene_batch(ProceduralConfig(VIEWS, 28, 42), seed=3, index=0, batch=2)
    views = ("images", "depth", "valid", "intrinsics", "w2c")
    return target_from_batch({k: x[:, list(order)] if k in views else x for k, x in batch.items()})


@pytest.mark.parametrize("frame", ["mean", "first"])
def test_rays_meet_the_points_that_the_patches_show(frame: RaysFrame) -> None:
    """The surface lies on the ray from the centre, for every camera."""
    target = scenes()
    rays = np.asarray(patch_rays(target, PATCHES, frame)).reshape(2, VIEWS, ROWS, COLUMNS, 6)
    np.testing.assert_allclose(np.linalg.norm(rays[..., :3], axis=-1), 1, atol=1e-5)
    for scene in range(2):
        w2c = np.asarray(target.w2c[scene], np.float64)
        among = slice(None) if frame == "mean" else slice(1)
        mean = np.asarray(nearest_rotation(w2c[among, :3, :3].mean(0)))
        centres = np.stack([-w[:3, :3].T @ w[:3, 3] for w in w2c])
        for view in range(VIEWS):
            for row in range(ROWS):
                for column in range(COLUMNS):
                    pixel = np.array([column * 14 + 7, row * 14 + 7, 1.0])
                    k = np.asarray(target.intrinsics[scene, view], np.float64)
                    along = w2c[view, :3, :3].T @ np.linalg.solve(k, pixel)
                    expected = mean @ (along / np.linalg.norm(along))
                    place = mean @ (centres[view] - centres[among].mean(0))
                    got = rays[scene, view, row, column]
                    np.testing.assert_allclose(got[:3], expected, atol=2e-4)
                    np.testing.assert_allclose(got[3:], np.clip(place, -2, 2), atol=2e-4)


def test_the_frame_does_not_depend_on_the_order_of_the_views() -> None:
    order = (2, 0, 3, 1)
    permuted, original = (patch_rays(scenes(o), PATCHES) for o in (order, (0, 1, 2, 3)))
    # The unit is set by the first view, so only directions are the same.
    np.testing.assert_allclose(permuted[..., :3], original[:, list(order), :, :3], atol=1e-4)


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
    prediction = jnp.zeros((2, VIEWS, 2, PATCHES, 6))
    assert np.isfinite(jax.grad(patch_ray_loss)(prediction, target)).all()
