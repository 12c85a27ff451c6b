"""Batches of random scenes as a deterministic function of (seed, index)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.procedural.cameras import look_at, random_intrinsics, random_path
from zipmap_jax.procedural.dice import Dice
from zipmap_jax.procedural.layout import random_layout
from zipmap_jax.procedural.render import render_view
from zipmap_jax.procedural.space import random_space

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.procedural.config import ProceduralConfig

HELD_OUT_SEED = 0x5EED
"""Seed of the fixed evaluation scenes."""
_TRAIN, _HELD_OUT = np.uint32(0), np.uint32(1)


def render_batch(key: Array, config: ProceduralConfig, batch: int) -> dict[str, Array]:
    """Draw and render random scenes; jit it with static `config` and `batch`.

    Depth follows the unprojection of ZipMap exactly: pixel (u, v), counted from 0, with depth z is
    the camera-frame point ((u - cx) z / fx, (v - cy) z / fy, z).

    Args:
      key: random key; scene i uses `fold_in(key, i)`.
      config: ranges and image size.
      batch: number of scenes.

    Returns:
      `images` [b, v, h, w, 3] in [0, 1], display-encoded; `depth` [b, v, h, w] z-depth in metres,
      0 where not valid; `valid` [b, v, h, w] False on the sky and beyond `config.far`;
      `intrinsics` [b, v, 3, 3] in pixels; `w2c` [b, v, 4, 4] world to camera, OpenCV axes.
    """
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(batch))
    return jax.vmap(partial(_render_scene, config=config))(keys)


def scene_batch(
    config: ProceduralConfig, seed: int, index: int | Array, batch: int
) -> dict[str, Array]:
    """Render the `index`-th training batch of an endless stream.

    Scene i of batch `index` is scene number `index * batch + i` of the stream, so scenes do not
    depend on the batch size.

    Args:
      config: ranges and image size.
      seed: number of the stream.
      index: batch number, such as the training step.
      batch: scenes per batch.

    Returns:
      Arrays of `render_batch`.
    """
    return _numbered(jax.random.key(seed), jnp.uint32(index), config, batch, _TRAIN)


def held_out_batch(config: ProceduralConfig, index: int, batch: int) -> dict[str, Array]:
    """Render the `index`-th batch of evaluation scenes, which no training stream contains.

    The purpose (training or evaluation) is folded into the key before the scene number, so the
    streams differ even if a training run uses `HELD_OUT_SEED`.

    Args:
      config: ranges and image size.
      index: batch number.
      batch: scenes per batch.

    Returns:
      Arrays of `render_batch`.
    """
    return _numbered(jax.random.key(HELD_OUT_SEED), jnp.uint32(index), config, batch, _HELD_OUT)


@partial(jax.jit, static_argnames=("config", "batch"))
def _numbered(
    key: Array, index: Array, config: ProceduralConfig, batch: int, purpose: np.uint32
) -> dict[str, Array]:
    stream = jax.random.fold_in(key, purpose)
    numbers = index * jnp.uint32(batch) + jnp.arange(batch, dtype=jnp.uint32)
    keys = jax.vmap(partial(jax.random.fold_in, stream))(numbers)
    return jax.vmap(partial(_render_scene, config=config))(keys)


def _render_scene(key: Array, config: ProceduralConfig) -> dict[str, Array]:
    """Draw one scene (space, cameras, objects at a distance from them) and render its views."""
    dice = Dice(key)
    space = random_space(dice, config)
    ceiling = jnp.where(space.indoor, space.height - 0.4, jnp.inf)
    position, target = random_path(dice, config, space.arena, ceiling)
    intrinsics = random_intrinsics(dice, config)
    roll = jnp.radians(config.roll) * dice.normal((config.views,))
    w2c = look_at(position, target, roll)
    scene = random_layout(dice, config, space, position)
    # One view at a time bounds the memory of the [objects, pixels] intersections.
    linear, depth, valid = jax.lax.map(
        lambda view: render_view(scene, config, *view), (intrinsics, w2c)
    )
    return {
        "images": _develop(dice, config, linear),
        "depth": depth,
        "valid": valid,
        "intrinsics": intrinsics,
        "w2c": w2c,
    }


def _develop(
    dice: Dice, config: ProceduralConfig, linear: Float[Array, "v h w 3"]
) -> Float[Array, "v h w 3"]:
    """Expose for the scene's mean brightness with small changes per view; encode for display."""
    gain = dice.uniform((), 0.22, 0.42) / jnp.maximum(linear.mean(), 1e-3)
    wobble = dice.uniform((config.views, 1, 1, 1), -1.0, 1.0)
    tint = dice.uniform((config.views, 1, 1, 3), -0.2, 0.2)
    exposed = linear * (gain * (1.0 + config.exposure * (wobble + tint)))
    # Filmic shoulder, then the display's gamma.
    return jnp.clip(1.0 - jnp.exp(-1.25 * exposed), 0.0, 1.0) ** (1.0 / 2.2)
