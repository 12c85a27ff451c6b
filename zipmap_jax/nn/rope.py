"""Two-dimensional rotary position embedding of the frame blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


def token_positions(special: int, rows: int, cols: int) -> Int[np.ndarray, "p 2"]:
    """(row, column) of every token of a view: special tokens at (0, 0), patches from (1, 1)."""
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"), -1) + 1
    return np.concatenate([np.zeros((special, 2), int), grid.reshape(-1, 2)])


def rope_tables(
    positions: Int[np.ndarray, "*t 2"], head_dim: int, base: float
) -> tuple[Float[np.ndarray, "*t d"], Float[np.ndarray, "*t d"]]:
    """Cosines and sines of the rotation angles.

    The first half of the features turns with the row, the second with the column; within a half of
    n features, pair j turns by `position * base**(-2 j / n)`.

    Returns:
      cos, sin: fp32 tables, one row per token.
    """
    half = head_dim // 2
    frequency = (base ** (-2.0 * np.arange(half // 2) / half)).astype(np.float32)
    angle = positions[..., None].astype(np.float32) * frequency
    angle = np.concatenate([angle, angle], -1).reshape(*positions.shape[:-1], head_dim)
    return np.cos(angle), np.sin(angle)


def apply_rope(
    x: Float[Array, "*b t d"], cos: Float[Array, "*#b t d"], sin: Float[Array, "*#b t d"]
) -> Float[Array, "*b t d"]:
    """Rotate queries or keys, `x cos + rot(x) sin`; position (0, 0) leaves them unchanged."""
    quarters = jnp.split(x, 4, axis=-1)
    turned = jnp.concatenate([-quarters[1], quarters[0], -quarters[3], quarters[2]], -1)
    return x * cos + turned * sin
