"""Colour jitter and view order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.train.augment import jitter_colours, shuffle_views
from zipmap_jax.train.config import JitterConfig

ALWAYS = JitterConfig(probability=1.0, grayscale=0.0, independent=0.0, gamma=0.3)


def images(scenes: int = 2, views: int = 3) -> jax.Array:
    one = jax.random.uniform(jax.random.key(1), (1, 1, 8, 9, 3))
    return jnp.broadcast_to(one, (scenes, views, 8, 9, 3))


def test_views_of_a_scene_are_jittered_together() -> None:
    out = np.asarray(jitter_colours(jax.random.key(0), images(), ALWAYS))
    assert out.min() >= 0
    assert out.max() <= 1
    np.testing.assert_array_equal(out[:, :1], out[:, 1:2])
    assert (np.abs(out[0] - out[1]) > 1e-3).any()
    assert (np.abs(out - images()) > 1e-3).any()


def test_or_every_view_for_itself() -> None:
    config = JitterConfig(probability=1.0, grayscale=0.0, independent=1.0)
    out = np.asarray(jitter_colours(jax.random.key(0), images(), config))
    assert (np.abs(out[:, 0] - out[:, 1]) > 1e-3).any()


def test_no_reach_changes_nothing() -> None:
    still = JitterConfig(0.0, 0.0, 0.0, 0.0, probability=1.0, grayscale=0.0)
    out = jitter_colours(jax.random.key(0), images(), still)
    # Two 3 x 3 colour transforms that cancel, in fp32.
    np.testing.assert_allclose(out, images(), atol=2e-5)


def test_grayscale_has_equal_channels() -> None:
    config = JitterConfig(grayscale=1.0)
    out = np.asarray(jitter_colours(jax.random.key(0), images(), config))
    np.testing.assert_array_equal(out[..., 0], out[..., 2])


def test_hue_turn_keeps_luma() -> None:
    config = JitterConfig(0.0, 0.0, 0.0, 0.02, probability=1.0, grayscale=0.0)
    before = 0.4 + 0.2 * images()
    after = jitter_colours(jax.random.key(0), before, config)
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(np.asarray(after) @ luma, np.asarray(before) @ luma, atol=1e-5)
    assert float(jnp.abs(after - before).max()) > 1e-3


def test_shuffling_moves_all_arrays_alike() -> None:
    index = jnp.broadcast_to(jnp.arange(6.0)[None], (4, 6))
    batch = {"images": jnp.broadcast_to(index[..., None, None, None], (4, 6, 2, 2, 3)), "id": index}
    out = shuffle_views(jax.random.key(3), batch)
    np.testing.assert_array_equal(out["images"][..., 0, 0, 0], out["id"])
    np.testing.assert_array_equal(np.sort(out["id"]), index)
    assert len(np.unique(np.asarray(out["id"]), axis=0)) > 1


@pytest.mark.parametrize("views", [1, 2])
def test_few_views_can_be_shuffled(views: int) -> None:
    batch = {"images": jnp.zeros((2, views, 2, 2, 3))}
    assert shuffle_views(jax.random.key(0), batch)["images"].shape == (2, views, 2, 2, 3)
