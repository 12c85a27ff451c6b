"""Augmentation on the device, as pure functions of a key: colours, and the order of the views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Key

    from zipmap_jax.train.config import JitterConfig
    from zipmap_jax.train.step import Batch

RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32
)
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)
LUMA = RGB_TO_YIQ[0]


def shuffle_views(key: Key[Array, ""], batch: Batch) -> Batch:
    """Put the views of every scene in random order, in all arrays of the batch alike."""
    scenes, views = batch["images"].shape[:2]
    order = jax.vmap(lambda k: jax.random.permutation(k, views))(jax.random.split(key, scenes))
    return {name: jax.vmap(lambda x, i: x[i])(array, order) for name, array in batch.items()}


def jitter_colours(
    key: Key[Array, ""], images: Float[Array, "b v h w 3"], config: JitterConfig
) -> Float[Array, "b v h w 3"]:
    """Brightness, contrast, saturation, hue and gamma, drawn per scene or per view.

    A share `config.independent` of the scenes gets a draw for every view, the others one for all
    their views. Hue turns the chroma plane of YIQ.

    Args:
      key: random key.
      images: in [0, 1].

    Source: training recipe, section 2.7 (there the four operations come in random order).
    """
    scenes, views = images.shape[:2]
    together, apart, choice = jax.random.split(key, 3)
    shared = jax.random.split(together, scenes)[:, None]
    single = jax.random.split(apart, (scenes, views))
    alone = jax.random.bernoulli(choice, config.independent, (scenes, 1))
    keys = jnp.where(alone, single, jnp.broadcast_to(shared, (scenes, views)))
    return jax.vmap(jax.vmap(lambda k, image: _jittered(k, image, config)))(keys, images)


def _jittered(
    key: Key[Array, ""], image: Float[Array, "h w 3"], config: JitterConfig
) -> Float[Array, "h w 3"]:
    """One image under one draw of the colour operations."""
    keys = jax.random.split(key, 7)

    def draw(index: int, reach: float) -> jax.Array:
        return jax.random.uniform(keys[index], (), minval=-reach, maxval=reach)

    luma = jnp.asarray(LUMA)
    out = jnp.clip(image * (1 + draw(0, config.brightness)), 0, 1)
    mean = jnp.mean(out @ luma)
    out = jnp.clip(mean + (out - mean) * (1 + draw(1, config.contrast)), 0, 1)
    angle, chroma = 2 * jnp.pi * draw(3, config.hue), 1 + draw(2, config.saturation)
    cos, sin = chroma * jnp.cos(angle), chroma * jnp.sin(angle)
    zero = jnp.zeros(())
    turn = jnp.stack([1 + zero, zero, zero, zero, cos, -sin, zero, sin, cos]).reshape(3, 3)
    recolour = YIQ_TO_RGB @ turn @ RGB_TO_YIQ
    out = jnp.clip(out @ recolour.T, 1e-6, 1) ** jnp.exp(draw(4, config.gamma))
    out = jnp.where(jax.random.bernoulli(keys[5], config.probability), out, image)
    grey = jnp.broadcast_to((out @ luma)[..., None], out.shape)
    return jnp.where(jax.random.bernoulli(keys[6], config.grayscale), grey, out)
