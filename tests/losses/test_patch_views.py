"""Targets of the patches of rendered views: colours and depths of squares of pixels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.losses import QueryTarget
from zipmap_jax.losses.patch_views import patch_view_loss, patch_views

ROWS, COLUMNS, SIDE = 2, 3, 14
PATCHES = ROWS * COLUMNS


def views() -> QueryTarget:
    """Two scenes of three views; the second patch of the first view has no depth."""
    rng = np.random.default_rng(0)
    shape = (2, 3, ROWS * SIDE, COLUMNS * SIDE)
    depth = rng.uniform(0.5, 4, shape)
    mask = rng.random(shape) < 0.7
    mask[0, 0, :SIDE, SIDE : 2 * SIDE] = False
    depth[~mask] = rng.choice([0.0, 7.0], shape)[~mask]
    arrays = (rng.random((*shape, 3)), depth)
    return QueryTarget(*(jnp.asarray(x, jnp.float32) for x in arrays), jnp.asarray(mask))


def test_patches_are_counted_row_by_row() -> None:
    truth = views()
    colours, depths, known = patch_views(truth, PATCHES)
    assert not known[0, 0, 1]
    assert int(known.sum()) == known.size - 1
    image, depth, mask = (np.asarray(x[1, 2]) for x in (truth.images, truth.depth, truth.mask))
    for row in range(ROWS):
        for column in range(COLUMNS):
            where = np.s_[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            patch = row * COLUMNS + column
            np.testing.assert_allclose(colours[1, 2, patch], image[where].mean((0, 1)), atol=1e-5)
            expected = np.log(depth[where][mask[where]]).mean()
            assert float(depths[1, 2, patch]) == pytest.approx(expected, abs=1e-5)


def test_the_loss_counts_later_layers_more_and_no_unknown_depth() -> None:
    truth = views()
    colours, depths, _ = patch_views(truth, PATCHES)
    right = jnp.concatenate([colours, depths[..., None]], -1)[:, :, None].repeat(3, axis=2)
    assert float(patch_view_loss(right, truth)) == pytest.approx(0, abs=1e-6)
    off = [float(patch_view_loss(right.at[:, :, i, :, 3].add(0.3), truth)) for i in range(3)]
    np.testing.assert_allclose(off, [0.075, 0.15, 0.3], rtol=1e-4)
    assert float(patch_view_loss(right.at[0, 0, :, 1, 3].add(9.0), truth)) == pytest.approx(0)
    red = float(patch_view_loss(right.at[:, :, 2, :, 0].add(0.3), truth))
    assert red == pytest.approx(4 * 0.1, rel=1e-4)


def test_gradients_are_finite_where_no_depth_is_known() -> None:
    truth = views()
    nothing = QueryTarget(truth.images, 0 * truth.depth, jnp.zeros_like(truth.mask))
    prediction = jnp.zeros((2, 3, 4, PATCHES, 4))
    gradient = jax.grad(patch_view_loss)(prediction, nothing)
    assert np.isfinite(gradient).all()
    assert not gradient[..., 3].any()
    assert gradient[..., :3].all()
