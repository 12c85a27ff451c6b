"""Augmentation on the device, as pure functions of a key: colours, and the order of the views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.data.batch_arrays import view_axis

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Key

    from zipmap_jax.data.config import JitterConfig
    from zipmap_jax.train.step import Batch

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in the luma of a colour (BT.601)."""


def shuffle_views(key: Key[Array, ""], batch: Batch) -> Batch:
    """Put the views of every scene in random order, the same in all arrays of the batch.

    Args:
      key: random key.
      batch: arrays [b, v, ...]; arrays without views are unchanged.
    """
    scenes, views = batch["images"].shape[:2]
    order = jax.vmap(lambda k: jax.random.permutation(k, views))(jax.random.split(key, scenes))
    return {
        name: array if view_axis(name) is None else jax.vmap(lambda x, i: x[i])(array, order)
        for name, array in batch.items()
    }


def jitter_colours(
    key: Key[Array, ""], images: Float[Array, "b v h w 3"], config: JitterConfig
) -> Float[Array, "b v h w 3"]:
    """Change brightness, contrast, saturation and hue in random order, then gamma; or grey images.

    A share `config.independent` of the scenes has a draw for every view, the others one draw for
    all their views.

    Args:
      key: random key.
      images: RGB in [0, 1].
      config: ranges and probabilities.

    Returns:
      The images, RGB in [0, 1].

    Source: training recipe, section 2.7, except gamma.
    """
    scenes, views = images.shape[:2]
    scene_key, view_key, choice = jax.random.split(key, 3)
    per_scene = jax.random.split(scene_key, scenes)[:, None]
    per_view = jax.random.split(view_key, (scenes, views))
    independent = jax.random.bernoulli(choice, config.independent, (scenes, 1))
    keys = jnp.where(independent, per_view, jnp.broadcast_to(per_scene, (scenes, views)))
    return jax.vmap(jax.vmap(lambda k, image: _jittered(k, image, config)))(keys, images)


def add_borders(key: Key[Array, ""], batch: Batch, share: float) -> Batch:
    """Paint white borders on a share of the scenes, above and below or left and right.

    The same borders for all views of a scene, up to a quarter of the side each. Images are white
    there and depth is invalid (0); cameras are unchanged.

    Args:
      key: random key.
      batch: `images` [b, v, h, w, 3], `depth` and `valid` [b, v, h, w], and others, which stay.
      share: probability of borders in a scene.
    """
    images = batch["images"]
    scenes, _, height, width = images.shape[:4]
    chosen, side, amount = jax.random.uniform(key, (3, scenes, 1, 1, 1))
    edge = jnp.where(chosen < share, 0.25 * amount, 0.0)
    y, x = (jnp.minimum(jnp.arange(n), n - 1 - jnp.arange(n)) + 0.5 for n in (height, width))
    y, x = y[None, None, :, None], x[None, None, None, :]
    inside = jnp.where(side < 0.5, y > edge * height, x > edge * width)
    return batch | {
        "images": jnp.where(inside[..., None], images, 1.0),
        "depth": jnp.where(inside, batch["depth"], 0.0),
        "valid": batch["valid"] & inside,
    }


def brightened(image: Float[Array, "h w 3"], factor: Float[Array, ""]) -> Float[Array, "h w 3"]:
    """Multiply every channel by a factor."""
    return jnp.clip(image * factor, 0, 1)


def contrasted(image: Float[Array, "h w 3"], factor: Float[Array, ""]) -> Float[Array, "h w 3"]:
    """Multiply differences from the mean luma of the image by a factor."""
    mean = jnp.mean(_grey(image))
    return jnp.clip(mean + factor * (image - mean), 0, 1)


def saturated(image: Float[Array, "h w 3"], factor: Float[Array, ""]) -> Float[Array, "h w 3"]:
    """Multiply differences of every pixel from its grey by a factor."""
    grey = _grey(image)
    return jnp.clip(grey + factor * (image - grey), 0, 1)


def hue_turned(image: Float[Array, "h w 3"], turns: Float[Array, ""]) -> Float[Array, "h w 3"]:
    """Shift the hue of HSV by a share of the colour circle; value and saturation stay."""
    value = jnp.max(image, axis=-1, keepdims=True)
    chroma = value - jnp.min(image, axis=-1, keepdims=True)
    red, green, blue = jnp.split(image, 3, axis=-1)
    # In sixths of the circle, relative to the largest channel.
    sixths = jnp.where(
        value == red,
        green - blue,
        jnp.where(value == green, blue - red, red - green),
    ) / jnp.where(chroma > 0, chroma, 1.0)
    sixths += jnp.where(value == red, 0.0, jnp.where(value == green, 2.0, 4.0))
    angle = (jnp.array([[[5.0, 3.0, 1.0]]]) + sixths + 6 * turns) % 6
    return value - chroma * jnp.clip(jnp.minimum(angle, 4 - angle), 0, 1)


OPERATIONS = (brightened, contrasted, saturated, hue_turned)
"""Colour operations: functions of an image and an amount."""


def _jittered(
    key: Key[Array, ""], image: Float[Array, "h w 3"], config: JitterConfig
) -> Float[Array, "h w 3"]:
    """Apply one draw of the colour operations to one image."""
    order, amounts, gamma, changed, grey = jax.random.split(key, 5)
    ranges = jnp.array([config.brightness, config.contrast, config.saturation, config.hue])
    neutral = jnp.array([1.0, 1.0, 1.0, 0.0])
    amount = neutral + ranges * jax.random.uniform(amounts, (4,), minval=-1)

    def apply(out: jax.Array, operation: jax.Array) -> tuple[jax.Array, None]:
        return jax.lax.switch(operation, OPERATIONS, out, amount[operation]), None

    out, _ = jax.lax.scan(apply, image, jax.random.permutation(order, len(OPERATIONS)))
    if config.gamma:
        exponent = jnp.exp(jax.random.uniform(gamma, minval=-config.gamma, maxval=config.gamma))
        out = jnp.maximum(out, 1e-6) ** exponent
    out = jnp.where(jax.random.bernoulli(changed, config.probability), out, image)
    return jnp.where(jax.random.bernoulli(grey, config.grayscale), _grey(out), out)


def _grey(image: Float[Array, "h w 3"]) -> Float[Array, "h w 1"]:
    return (image @ LUMA)[..., None]
