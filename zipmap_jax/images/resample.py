"""Resampling of depth and confidence from the network grid to the original pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.geometry.pixel_map import PixelMap

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

EDGE_RATIO = 1.1
"""Ratio of neighbouring depths above which they belong to different surfaces."""


def depth_to_original(
    depth: Float[np.ndarray, "h w"], confidence: Float[np.ndarray, "h w"], pixel_map: PixelMap
) -> tuple[Float[np.ndarray, "h2 w2"], Float[np.ndarray, "h2 w2"]]:
    """Resamples depth and confidence of one view to the original pixels.

    Interpolation is bilinear among the visible network pixels. Depth is the nearest neighbour's
    where the four neighbours differ by more than the factor `EDGE_RATIO`, so that no points float
    between foreground and background. The outermost values extend by half a network pixel.

    Args:
      depth: z-depth on the network grid; unknown where it is not finite or not positive.
      confidence: confidence on the network grid.
      pixel_map: the map between the two grids.

    Returns:
      float32 depth, NaN where it is unknown or the pixel was cropped away, and float32 confidence,
      0 at these pixels.
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
    full_depth = np.where(edge, nearest, smooth)
    full_depth[_outside(rows, y1 - y0)] = np.nan
    full_depth[:, _outside(cols, x1 - x0)] = np.nan
    full_confidence = _bilinear(np.nan_to_num(confidence, nan=0, posinf=0, neginf=0), rows, cols)
    return full_depth, np.where(np.isnan(full_depth), np.float32(0), full_confidence)


def _cell(at: Float[np.ndarray, " n"], size: int) -> tuple[Int[np.ndarray, " n"], np.ndarray]:
    """Lower neighbour and weight of the upper one, for positions clamped to [0, size - 1]."""
    at = at.clip(0, size - 1)
    low = np.minimum(at.astype(np.intp), size - 2)
    return low, (at - low).astype(np.float32)


def _nearest(at: Float[np.ndarray, " n"], size: int) -> Int[np.ndarray, " n"]:
    return np.rint(at).astype(np.intp).clip(0, size - 1)


def _outside(at: Float[np.ndarray, " n"], size: int) -> Bool[np.ndarray, " n"]:
    slack = 1e-6  # rounding must not drop a pixel exactly at the border
    return (at < -0.5 - slack) | (at > size - 0.5 + slack)


def _bilinear(
    values: Float[np.ndarray, "h w"], rows: Float[np.ndarray, " n"], cols: Float[np.ndarray, " m"]
) -> Float[np.ndarray, "n m"]:
    low, weight = _cell(cols, values.shape[1])
    values = values[:, low] + (values[:, low + 1] - values[:, low]) * weight
    low, weight = _cell(rows, values.shape[0])
    return values[low] + (values[low + 1] - values[low]) * weight[:, None]


def _edges(depth: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h1 w1"]:
    """Cells of four neighbouring pixels with a depth edge or an unknown depth."""
    corners = np.stack([depth[:-1, :-1], depth[:-1, 1:], depth[1:, :-1], depth[1:, 1:]])
    return ~(corners.max(0) <= EDGE_RATIO * corners.min(0))
