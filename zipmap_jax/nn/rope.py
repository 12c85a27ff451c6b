"""Two-dimensional rotary position embedding of the frame blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


def token_positions(special: int, rows: int, cols: int) -> Int[np.ndarray, "p 2"]:
    """Positions of the tokens of a view: special tokens at (0, 0), patches from (1, 1).

    Args:
      special: number of special tokens, which come first.
      rows, cols: size of the patch grid.

    Returns:
      (row, column) of every token.
    """
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"), -1) + 1
    return np.concatenate([np.zeros((special, 2), int), grid.reshape(-1, 2)])


def rope_tables(
    positions: Int[np.ndarray, "*t 2"], head_dim: int, base: float
) -> tuple[Float[np.ndarray, "*t d"], Float[np.ndarray, "*t d"]]:
    """Cosines and sines of the rotation angles.

    The first half of the features is rotated by the row, the second by the column; within a half of
    n features, pair j is rotated by `position * base**(-2 j / n)`.

    Args:
      positions: (row, column) of every token.
      head_dim: features d of a head.
      base: base of the frequencies.

    Returns:
      Cosines and sines in fp32.
    """
    half = head_dim // 2
    frequency = (base ** (-2.0 * np.arange(half // 2) / half)).astype(np.float32)
    angle = positions[..., None].astype(np.float32) * frequency
    angle = np.concatenate([angle, angle], -1).reshape(*positions.shape[:-1], head_dim)
    return np.cos(angle), np.sin(angle)


def apply_rope(
    x: Float[Array, "*b t d"], cos: Float[Array, "*#b t d"], sin: Float[Array, "*#b t d"]
) -> Float[Array, "*b t d"]:
    """Rotates queries or keys, `x cos + rot(x) sin`; position (0, 0) is the identity.

    Args:
      x: queries or keys.
      cos, sin: tables of `rope_tables`.

    Returns:
      The rotated queries or keys.
    """
    quarters = jnp.split(x, 4, axis=-1)
    rotated = jnp.concatenate([-quarters[1], quarters[0], -quarters[3], quarters[2]], -1)
    return x * cos + rotated * sin
