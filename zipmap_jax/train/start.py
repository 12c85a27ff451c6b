"""What a new run starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.train.optimizer import path_name

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Key

    from zipmap_jax.models.zipmap import ZipMap


def random_parameters(
    model: ZipMap, key: Key[Array, ""], token_scale: float | None = None
) -> dict[str, Any]:
    """Freshly drawn parameters, with tokens and positions that can be trained from scratch.

    The published initial tokens have a standard deviation of 1e-6, which suits a start from
    pretrained weights. The layer norm behind them multiplies gradients by up to 1000 at that size,
    so that the tokens alone would fill the clipped gradient. Positions start as sines instead of
    noise, so that neighbours are alike from the first step.

    Args:
      model: the model.
      key: random key.
      token_scale: standard deviation of every learned token; None = tokens and positions as the
        model draws them.
    """
    first, second = jax.random.split(key)
    params = model.init(first)
    if token_scale is None:
        return params

    def redrawn(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        name = path_name(path)
        if name == "embedder/pos_embed":
            return jnp.asarray(sine_positions(round((leaf.shape[1] - 1) ** 0.5), leaf.shape[-1]))
        if not name.endswith(("_token", "_tokens")) or name.startswith("camera_head"):
            return leaf
        noise = jax.random.normal(jax.random.fold_in(second, hash_of(name)), leaf.shape)
        return token_scale * noise

    return jax.tree_util.tree_map_with_path(redrawn, params)


def sine_positions(side: int, width: int, scale: float = 0.5) -> Float[np.ndarray, "1 t c"]:
    """Sines and cosines of x, then of y, for a square grid; zero for the class token before it.

    Wavelengths range geometrically from two images to four patches.
    """
    where = (np.arange(side) + 0.5) / side
    frequency = np.pi * np.geomspace(1, side / 2, width // 4)
    wave = where[:, None] * frequency
    wave = np.concatenate([np.sin(wave), np.cos(wave)], -1)
    shape = (side, side, wave.shape[-1])
    grid = [np.broadcast_to(wave[None], shape), np.broadcast_to(wave[:, None], shape)]
    table = np.concatenate(grid, -1).reshape(side * side, -1)
    return scale * np.pad(table, [(1, 0), (0, 0)])[None].astype(np.float32)


def hash_of(name: str) -> int:
    """A number for a parameter path, the same in every process."""
    return int.from_bytes(name.encode(), "big") % (2**31 - 1)
