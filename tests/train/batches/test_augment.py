"""Colour jitter and view order."""

from __future__ import annotations

import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.data.config import JitterConfig
from zipmap_jax.train.batches.augment import (
    OPERATIONS,
    add_borders,
    brightened,
    contrasted,
    hue_turned,
    jitter_colours,
    saturated,
    shuffle_views,
)

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


def test_views_are_jittered_independently() -> None:
    config = JitterConfig(probability=1.0, grayscale=0.0, independent=1.0)
    out = np.asarray(jitter_colours(jax.random.key(0), images(), config))
    assert (np.abs(out[:, 0] - out[:, 1]) > 1e-3).any()


def test_zero_ranges_change_nothing() -> None:
    still = JitterConfig(0.0, 0.0, 0.0, 0.0, probability=1.0, grayscale=0.0)
    out = jitter_colours(jax.random.key(0), images(), still)
    np.testing.assert_allclose(out, images(), atol=1e-6)


def test_grayscale_has_equal_channels() -> None:
    config = JitterConfig(grayscale=1.0)
    out = np.asarray(jitter_colours(jax.random.key(0), images(), config))
    np.testing.assert_array_equal(out[..., 0], out[..., 2])


def test_the_four_operations_by_hand() -> None:
    """Each operation on a few pixels, in double precision; hue by the HSV of `colorsys`."""
    rng = np.random.default_rng(3)
    pixels = rng.uniform(size=(5, 6, 3))
    # Grey, black, white, and two equal maximum channels.
    pixels[0, :4] = [0.4, 0.4, 0.4], [0, 0, 0], [1, 1, 1], [0.7, 0.7, 0.2]
    image = jnp.asarray(pixels, jnp.float32)
    luma = pixels @ [0.299, 0.587, 0.114]
    expected = {
        brightened: np.minimum(1.4 * pixels, 1),
        contrasted: np.clip(luma.mean() + 1.4 * (pixels - luma.mean()), 0, 1),
        saturated: np.clip(luma[..., None] + 1.4 * (pixels - luma[..., None]), 0, 1),
    }
    for operation, by_hand in expected.items():
        np.testing.assert_allclose(operation(image, jnp.float32(1.4)), by_hand, atol=1e-6)
        np.testing.assert_allclose(operation(image, jnp.float32(1.0)), pixels, atol=1e-6)
    for turns in (-0.5, -0.07, 0.0, 0.1, 0.9):
        by_hand = []
        for red, green, blue in pixels.reshape(-1, 3):
            hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
            by_hand.append(colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value))
        turned = hue_turned(image, jnp.float32(turns))
        np.testing.assert_allclose(turned, np.reshape(by_hand, pixels.shape), atol=2e-6)


def test_operations_come_in_any_order() -> None:
    """Each draw matches one of the 24 orders with amounts in range; many orders occur."""
    config = JitterConfig(0.3, 0.3, 0.3, 0.1, probability=1.0, grayscale=0.0, independent=1.0)
    one = images(1, 1)[0, 0]
    reach = jnp.array([config.brightness, config.contrast, config.saturation, config.hue])
    jitter = jax.jit(lambda key: jitter_colours(key, one[None, None], config)[0, 0])
    seen = set()
    for number in range(12):
        key = jax.random.key(number)
        out = jitter(key)
        _, apart, _ = jax.random.split(key, 3)
        keys = jax.random.split(jax.random.split(apart, (1, 1))[0, 0], 5)
        shift = reach * jax.random.uniform(keys[1], (4,), minval=-1)
        amounts = jnp.array([1.0, 1.0, 1.0, 0.0]) + shift
        errors = {}
        for order in itertools.permutations(range(4)):
            by_hand = one
            for which in order:
                by_hand = OPERATIONS[which](by_hand, amounts[which])
            errors[order] = float(jnp.abs(by_hand - out).max())
        best = min(errors, key=lambda order: errors[order])
        assert errors[best] < 1e-5
        seen.add(best)
    assert len(seen) > 4


def test_shuffling_moves_all_arrays_alike() -> None:
    index = jnp.broadcast_to(jnp.arange(6.0)[None], (4, 6))
    batch = {
        "images": jnp.broadcast_to(index[..., None, None, None], (4, 6, 2, 2, 3)),
        "ids": index,
    }
    out = shuffle_views(jax.random.key(3), batch)
    np.testing.assert_array_equal(out["images"][..., 0, 0, 0], out["ids"])
    np.testing.assert_array_equal(np.sort(out["ids"]), index)
    assert len(np.unique(np.asarray(out["ids"]), axis=0)) > 1


@pytest.mark.parametrize("views", [1, 2])
def test_few_views_can_be_shuffled(views: int) -> None:
    batch = {"images": jnp.zeros((2, views, 2, 2, 3))}
    assert shuffle_views(jax.random.key(0), batch)["images"].shape == (2, views, 2, 2, 3)


def test_borders_are_white_and_invalid_on_two_sides_of_all_views() -> None:
    scenes, views, height, width = 64, 2, 16, 20
    shape = (scenes, views, height, width)
    batch = {
        "images": jnp.full((*shape, 3), 0.5),
        "depth": jnp.ones(shape),
        "valid": jnp.ones(shape, bool),
        "w2c": jnp.zeros((scenes, views, 4, 4)),
    }
    out = {k: np.asarray(x) for k, x in add_borders(jax.random.key(0), batch, 0.5).items()}
    white = (out["images"] == 1).all(-1)
    assert ((out["images"] == 0.5).all(-1) ^ white).all()
    np.testing.assert_array_equal(out["valid"], ~white)
    np.testing.assert_array_equal(out["depth"], (~white).astype(np.float32))
    np.testing.assert_array_equal(white[:, 0], white[:, 1])
    np.testing.assert_array_equal(white, white[:, :, ::-1, ::-1])  # equal on both sides
    rows, columns = white[:, 0].all(2).sum(1), white[:, 0].all(1).sum(1)
    assert not ((rows > 0) & (columns > 0)).any()
    assert (rows > 0).sum() > 5 < (columns > 0).sum()
    assert 16 <= (rows + columns > 0).sum() <= 40
    assert rows.max() <= height / 2
    assert columns.max() <= width / 2
    np.testing.assert_array_equal(
        add_borders(jax.random.key(0), batch, 0.0)["images"], batch["images"]
    )
