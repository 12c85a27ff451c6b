"""Correspondences of patches on a wall, where they are known exactly."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.losses import LossConfig, Target, normalise_target, target_from_batch
from zipmap_jax.losses.matching import SHARPNESS, correspondences, matching_loss
from zipmap_jax.losses.total import term_weights
from zipmap_jax.procedural import ProceduralConfig, scene_batch

SIDE, ROWS, COLUMNS = 4, 3, 5
PATCHES = ROWS * COLUMNS
FOCAL, DISTANCE = 20.0, 2.0


def wall(shift: float, rows: float = 0.0, turned: bool = False) -> Target:
    """Two views of a wall, the second moved right and down by so many patches."""
    height, width = SIDE * ROWS, SIDE * COLUMNS
    w2c = np.tile(np.eye(4, dtype=np.float32), (1, 2, 1, 1))
    w2c[0, 1, :2, 3] = -np.array([shift, rows]) * SIDE * DISTANCE / FOCAL
    if turned:
        w2c[0, 1, :3, :3] = np.diag([-1.0, 1.0, -1.0])
    intrinsics = np.array([[FOCAL, 0, width / 2], [0, FOCAL, height / 2], [0, 0, 1]], np.float32)
    depth = jnp.full((1, 2, height, width), DISTANCE)
    intrinsics = jnp.tile(intrinsics, (1, 2, 1, 1))
    target, _ = normalise_target(jnp.asarray(w2c), intrinsics, depth, depth > 0)
    return target


def test_moved_by_a_whole_patch() -> None:
    """Half a pixel off the middle of a patch of even size, as the middle is between pixels."""
    weights, seen = map(np.asarray, correspondences(wall(1), PATCHES))
    assert weights.shape == (1, 2, 2, PATCHES, PATCHES)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    grid = np.arange(PATCHES).reshape(ROWS, COLUMNS)
    # Column j of the first view is column j - 1 of the second, which moved right.
    for row in range(ROWS):
        assert not seen[0, 0, 1, grid[row, 0]]
        for column in range(1, COLUMNS):
            assert seen[0, 0, 1, grid[row, column]]
            patch_weights = weights[0, 0, 1, grid[row, column]]
            assert patch_weights.argmax() == grid[row, column - 1]
            assert patch_weights.max() > 0.7
            assert weights[0, 1, 0, grid[row, column - 1]].argmax() == grid[row, column]
    assert not seen[0, 0, 0].any()
    assert not seen[0, 1, 1].any()


def test_between_patches_the_weights_are_those_of_the_distance() -> None:
    whole, half = (np.asarray(correspondences(wall(s), PATCHES)[0][0, 0, 1]) for s in (1, 1.5))
    inner = np.arange(PATCHES).reshape(ROWS, COLUMNS)[1, 3]
    place = np.arange(PATCHES) % COLUMNS
    assert (half[inner] * place).sum() == pytest.approx(
        (whole[inner] * place).sum() - 0.5, abs=1e-4
    )


def test_what_is_hidden_unknown_or_behind_is_not_seen() -> None:
    target = wall(0)
    assert correspondences(target, PATCHES)[1][0, 0, 1].all()
    near = target.depth.at[0, 1, :, : SIDE * 2].multiply(0.5)
    hidden = correspondences(dataclasses.replace(target, depth=near), PATCHES)[1][0, 0, 1]
    np.testing.assert_array_equal(
        np.asarray(hidden).reshape(ROWS, COLUMNS)[0], [False, False, True, True, True]
    )
    unknown = dataclasses.replace(target, mask=target.mask.at[0, 0, SIDE:].set(False))
    seen = np.asarray(correspondences(unknown, PATCHES)[1]).reshape(2, 2, ROWS, COLUMNS)
    assert seen[0, 1, 0].all()
    assert not seen[0, 1, 1:].any()
    assert not seen[1, 0, 1:].any()
    assert not correspondences(wall(0, turned=True), PATCHES)[1].any()


def test_the_loss_is_low_where_queries_meet_the_right_keys() -> None:
    target = wall(1)
    weights, seen = correspondences(target, PATCHES)
    shape = (1, 2, 1, PATCHES, PATCHES)
    keys = jnp.broadcast_to(jnp.eye(PATCHES), shape)
    # A query for one other view is all that two views need.
    right = jnp.stack([weights[:, 0, 1], weights[:, 1, 0]], axis=1)[:, :, None]
    right = right / jnp.linalg.norm(right, axis=-1, keepdims=True)
    wrong = jnp.roll(right, 7, axis=-1)
    same = jnp.ones_like(right) / PATCHES**0.5
    losses = [float(matching_loss(q, keys, target)) for q in (right, same, wrong)]
    assert losses[1] == pytest.approx(1, rel=1e-5)
    assert losses[0] < 0.6 * losses[1] < losses[1] < losses[2]
    by_hand = []
    for view, other in ((0, 1), (1, 0)):
        for patch in np.flatnonzero(seen[0, view, other]):
            logits = SHARPNESS * np.asarray(right)[0, view, 0, patch]
            likelihood = logits - np.log(np.exp(logits).sum())
            entropy = -(np.asarray(weights)[0, view, other, patch] * likelihood).sum()
            by_hand.append(entropy / np.log(PATCHES))
    assert len(by_hand) == 2 * ROWS * (COLUMNS - 1)
    assert losses[0] == pytest.approx(np.mean(by_hand), rel=1e-5)
    # Only the first view is zipped, and its queries of its own keys do not count.
    one_way = matching_loss(right, keys[:, :1], target)
    assert float(one_way) == pytest.approx(np.mean(by_hand[len(by_hand) // 2 :]), rel=1e-5)


@pytest.mark.slow
def test_the_truth_of_rendered_scenes_is_consistent() -> None:
    """A point has the same colour in two views, up to light and texture."""
    config = ProceduralConfig(views=4, height=56, width=84, exposure=0.0, supersample=2)
    batch = scene_batch(config, seed=5, index=0, batch=2)
    target = target_from_batch(batch)
    weights, seen = correspondences(target, 4 * 6)
    assert 0.2 < float(seen.mean()) < 0.75
    colours = batch["images"].astype(jnp.float32)
    if colours.max() > 1:
        colours = colours / 255
    patches = colours.reshape(2, 4, 4, 14, 6, 14, 3).mean((3, 5)).reshape(2, 4, 24, 3)
    matched = jnp.einsum("bvwpq,bwqc->bvwpc", weights, patches)
    apart = jnp.abs(matched - patches[:, :, None]).mean(-1)
    shuffled = jnp.abs(jnp.roll(matched, 9, axis=3) - patches[:, :, None]).mean(-1)
    assert float(apart[seen].mean()) < 0.6 * float(shuffled[seen].mean())


def test_gradients_are_finite_without_any_correspondence() -> None:
    target = wall(0, turned=True)
    keys = jnp.ones((1, 2, 2, PATCHES, 3)) / 3**0.5
    value, gradient = jax.value_and_grad(matching_loss)(keys, keys, target)
    assert value == 0
    assert np.isfinite(gradient).all()


def test_published_weights_exclude_matching() -> None:
    assert term_weights(LossConfig())["matching"] == 0
    assert term_weights(LossConfig(matching=2.0))["matching"] == 2
