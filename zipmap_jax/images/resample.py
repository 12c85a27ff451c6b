"""Depth and confidence from the network grid to the grid of the original image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.geometry.pixel_map import PixelMap

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

EDGE_RATIO = 1.1
"""Neighbouring depths further apart than this factor lie on different surfaces."""


def depth_to_original(
    depth: Float[np.ndarray, "h w"], confidence: Float[np.ndarray, "h w"], pixel_map: PixelMap
) -> tuple[Float[np.ndarray, "h2 w2"], Float[np.ndarray, "h2 w2"]]:
    """Depth and confidence of one view on the original pixel grid.

    Bilinear interpolation among the visible network pixels, except across depth edges: where the
    four neighbours differ by more than the factor `EDGE_RATIO`, depth is the nearest neighbour's,
    so that no points float between a foreground and its background. Confidence is bilinear
    everywhere. Up to half a network pixel beyond the outermost centres the border is repeated.

    Args:
      depth: z-depth on the network grid; not finite or not positive counts as unknown.
      confidence: on the same grid.
      pixel_map: how the two grids lie on each other.

    Returns:
      float32 depth, NaN where the network did not see the pixel or depth is unknown, and float32
      confidence, 0 there.
    """
    x0, y0, x1, y1 = pixel_map.visible
    height, width = pixel_map.original_size
    depth = np.asarray(depth, np.float32)[y0:y1, x0:x1]
    confidence = np.asarray(confidence, np.float32)[y0:y1, x0:x1]
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
    rows = (np.arange(height) - pixel_map.offset_y) / pixel_map.scale_y - y0
    cols = (np.arange(width) - pixel_map.offset_x) / pixel_map.scale_x - x0
    smooth = _bilinear(depth, rows, cols)
    edge = _edges(depth)[np.ix_(_cell(rows, y1 - y0)[0], _cell(cols, x1 - x0)[0])]
    nearest = depth[np.ix_(_nearest(rows, y1 - y0), _nearest(cols, x1 - x0))]
    full = np.where(edge, nearest, smooth)
    full[_outside(rows, y1 - y0)] = np.nan
    full[:, _outside(cols, x1 - x0)] = np.nan
    trust = _bilinear(np.nan_to_num(confidence, nan=0, posinf=0, neginf=0), rows, cols)
    return full, np.where(np.isnan(full), np.float32(0), trust)


def _cell(at: Float[np.ndarray, " n"], size: int) -> tuple[Int[np.ndarray, " n"], np.ndarray]:
    """Lower neighbour and weight of the upper one, for positions clamped to [0, size - 1]."""
    at = at.clip(0, size - 1)
    low = np.minimum(at.astype(np.intp), size - 2)
    return low, (at - low).astype(np.float32)


def _nearest(at: Float[np.ndarray, " n"], size: int) -> Int[np.ndarray, " n"]:
    return np.rint(at).astype(np.intp).clip(0, size - 1)


def _outside(at: Float[np.ndarray, " n"], size: int) -> Bool[np.ndarray, " n"]:
    slack = 1e-6  # so that rounding does not drop a border that coincides
    return (at < -0.5 - slack) | (at > size - 0.5 + slack)


def _bilinear(
    values: Float[np.ndarray, "h w"], rows: Float[np.ndarray, " n"], cols: Float[np.ndarray, " m"]
) -> Float[np.ndarray, "n m"]:
    low, weight = _cell(cols, values.shape[1])
    values = values[:, low] + (values[:, low + 1] - values[:, low]) * weight
    low, weight = _cell(rows, values.shape[0])
    return values[low] + (values[low + 1] - values[low]) * weight[:, None]


def _edges(depth: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h1 w1"]:
    """Which cells of four neighbouring pixels hold a depth edge or an unknown depth."""
    corners = np.stack([depth[:-1, :-1], depth[:-1, 1:], depth[1:, :-1], depth[1:, 1:]])
    return ~(corners.max(0) <= EDGE_RATIO * corners.min(0))
