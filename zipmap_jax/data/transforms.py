"""From a frame at its own size to a training view: crops, resizing, cleaning of depth.

Images keep integer pixel centres: after a crop by (top, left) the principal point moves by as much,
after resizing by s it is (c + 1/2) s - 1/2.

Source: training recipe, sections 2.5 and 2.6.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from zipmap_jax.data.frame import BrokenFrameError, PosedFrame
from zipmap_jax.geometry import crop_intrinsics, scale_intrinsics

if TYPE_CHECKING:
    from jaxtyping import Float

    Size = tuple[int, int]

MARGIN = 4
"""Pixels by which a frame is resized beyond the target: the last crop needs room for a principal
point that is not quite in the middle."""


def fit_frame(
    frame: PosedFrame,
    size: Size,
    rng: np.random.Generator,
    scales: tuple[float, float] | None = None,
    zoom: float = 0.0,
) -> PosedFrame:
    """Crop and resize a frame so that its principal point lies in the middle of `size`.

    Args:
      frame: at its own size.
      size: (height, width) of the result.
      rng: used for the augmentation only; every frame draws its own crop.
      scales: shares of height and width that a first crop keeps are drawn from this range, each
        capped at 1; None = no such crop.
      zoom: the frame is resized beyond the target by up to this share of its longer side, rarely
        by much; 0 = no zoom.

    Returns:
      The frame at `size`; its principal point is within [n / 2, n / 2 + 1) along both axes unless
      the frame is too small on that side, where black without depth fills the missing pixels.

    Raises:
      BrokenFrameError: the principal point is not inside the image.

    Source: training recipe, section 2.5.
    """
    kept = np.array(frame.depth.shape)
    if scales is not None:
        kept = (kept * np.minimum(rng.uniform(*scales, 2), 1.0)).astype(int)
    stretch = rng.triangular(0.0, 0.0, zoom) if zoom > 0 else 0.0
    cropped = crop_to_principal_point(frame, (int(kept[0]), int(kept[1])))
    margin = MARGIN + stretch * max(size)
    return resize_and_cut(cropped, resized_size(cropped.depth.shape, size, margin), size)


def crop_to_principal_point(frame: PosedFrame, size: Size) -> PosedFrame:
    """The largest crop within `size` that has the principal point in its middle, of even sides.

    Raises:
      BrokenFrameError: the principal point is not inside the image.
    """
    windows = []
    for n, wanted, c in zip(frame.depth.shape, size, _centre(frame), strict=True):
        half = np.floor(min(wanted / 2, c, n - c))
        if not half >= 1:
            raise BrokenFrameError(f"its principal point {c:.1f} is not inside its {n} pixels")
        start = int(np.floor(c) - half)
        windows.append(slice(start, start + 2 * int(half)))
    rows, columns = windows
    return dataclasses.replace(
        frame,
        image=frame.image[rows, columns],
        depth=frame.depth[rows, columns],
        intrinsics=crop_intrinsics(frame.intrinsics, rows.start, columns.start),
    )


def resized_size(size: Size, target: Size, margin: float) -> Size:
    """Smallest isotropic resizing of `size` that leaves `margin` around `target`, rounded down."""
    scale = max((want + margin) / have for have, want in zip(size, target, strict=True))
    return int(np.floor(size[0] * scale)), int(np.floor(size[1] * scale))


def resize_and_cut(frame: PosedFrame, resized: Size, size: Size) -> PosedFrame:
    """Resize to `resized`, then cut `size` around the principal point; pads below and right.

    The image is resampled with a Lanczos filter when it shrinks and a bicubic one when it grows;
    depth takes the nearest pixel, whatever the direction, so that no surface is invented.
    """
    have = frame.depth.shape
    # Parity: one factor for both axes, though rounding makes them differ by up to a pixel in all.
    factor = max(new / old for new, old in zip(resized, have, strict=True))
    intrinsics = scale_intrinsics(frame.intrinsics, (factor, factor))
    centre = (intrinsics[1, 2], intrinsics[0, 2])
    top, left = (
        int(np.floor(c) - np.floor(min(n / 2, c))) for n, c in zip(size, centre, strict=True)
    )
    shrinks = resized[0] < have[0] or resized[1] < have[1]
    method = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    image = np.asarray(Image.fromarray(frame.image).resize((resized[1], resized[0]), method))
    image = image[top : top + size[0], left : left + size[1]]
    rows = _nearest(have[0], resized[0])[top : top + size[0]]
    columns = _nearest(have[1], resized[1])[left : left + size[1]]
    return dataclasses.replace(
        frame,
        image=_padded(image, size),
        depth=_padded(frame.depth[rows[:, None], columns], size),
        intrinsics=crop_intrinsics(intrinsics, top, left),
    )


def clean_depth(depth: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Depth as float32 with 0 wherever it is negative or not finite."""
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)


def threshold_depth(
    depth: Float[np.ndarray, "h w"],
    max_depth: float | None = None,
    high: float | None = None,
    low: float | None = None,
    valid_only: bool = False,
) -> Float[np.ndarray, "h w"]:
    """Remove depth that is too far, and the tails of its distribution.

    Args:
      depth: z-depth, 0 = invalid.
      max_depth: farther pixels become invalid, before the percentiles are taken.
      high, low: percentiles; pixels beyond them become invalid.
      valid_only: take the percentiles over valid pixels. Parity: the reference counts invalid
        pixels as zeros, so that the share of valid pixels it removes depends on how many there are
        (of 5 % valid pixels "98" removes two fifths, "90" none).

    Source: training recipe, section 2.6.
    """
    out = np.array(depth, np.float64)
    if max_depth is not None:
        out[out > max_depth] = 0
    counted = out[out > 0] if valid_only else out[~np.isnan(out)]
    if counted.size == 0:
        return out.astype(np.float32)
    bounds = {q: np.percentile(counted, q) for q in (high, low) if q is not None}
    if high is not None and bounds[high] > 0:
        out[out > bounds[high]] = 0
    if low is not None and bounds[low] > 0:
        out[out < bounds[low]] = 0
    return out.astype(np.float32)


def _centre(frame: PosedFrame) -> tuple[float, float]:
    """Principal point as (row, column)."""
    return float(frame.intrinsics[1, 2]), float(frame.intrinsics[0, 2])


def _nearest(old: int, new: int) -> np.ndarray:
    """Source index of every pixel of an axis resized from `old` to `new` pixels."""
    # Parity: the index is rounded down from the pixel's edge, not its centre, as OpenCV does.
    return np.minimum((np.arange(new) * (old / new)).astype(int), old - 1)


def _padded(array: np.ndarray, size: Size) -> np.ndarray:
    """`array` with zeros below and right up to `size`."""
    missing = (size[0] - array.shape[0], size[1] - array.shape[1])
    if missing == (0, 0):
        return array
    return np.pad(array, [(0, missing[0]), (0, missing[1]), *[(0, 0)] * (array.ndim - 2)])
