"""Crops and resizes a frame to the size of a training view.

Images keep integer pixel centres: a crop by (top, left) moves the principal point by the same
number of pixels, resizing by s moves it to (c + 1/2) s - 1/2.

Source: training recipe, section 2.5.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from zipmap_jax.data.frame import BrokenFrameError, PosedFrame
from zipmap_jax.geometry import crop_intrinsics, scale_intrinsics

if TYPE_CHECKING:
    Size = tuple[int, int]

MARGIN = 4
"""Pixels by which a frame is resized beyond the target size: the last crop needs room for a
principal point beside the middle."""


def fit_frame(
    frame: PosedFrame,
    size: Size,
    rng: np.random.Generator,
    scales: tuple[float, float] | None = None,
    zoom: float = 0.0,
) -> PosedFrame:
    """Crop and resize a frame, with its principal point in the middle of `size`.

    Args:
      frame: at its own size.
      size: (height, width) of the result.
      rng: randomness of the augmentation; every frame draws its own crop.
      scales: range of the shares of height and width that a first crop keeps, each capped at 1;
        None = no such crop.
      zoom: largest share of the longer side by which the frame is resized beyond the target
        (triangular distribution with mode 0); 0 = no zoom.

    Returns:
      The frame at `size`, with its principal point in [n / 2, n / 2 + 1) along both axes. Where the
      frame is too small, missing pixels are black and have no depth.

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
    """Crop to the largest even size within `size` that has the principal point in its middle.

    Raises:
      BrokenFrameError: the principal point is not inside the image.
    """
    windows = []
    for n, target, c in zip(frame.depth.shape, size, _centre(frame), strict=True):
        half = np.floor(min(target / 2, c, n - c))
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
    """Scale `size` isotropically until both axes reach `target` plus `margin`, rounded down."""
    scale = max((new + margin) / old for old, new in zip(size, target, strict=True))
    return int(np.floor(size[0] * scale)), int(np.floor(size[1] * scale))


def resize_and_cut(frame: PosedFrame, resized: Size, size: Size) -> PosedFrame:
    """Resize to `resized`, then cut `size` around the principal point, padded below and right.

    The image is resampled with a Lanczos filter when it shrinks and a bicubic one when it grows;
    depth takes the nearest pixel in both cases, so that no surface is invented.
    """
    original = frame.depth.shape
    # Parity: one factor for both axes, though rounded sizes differ from it by up to a pixel.
    factor = max(new / old for new, old in zip(resized, original, strict=True))
    intrinsics = scale_intrinsics(frame.intrinsics, (factor, factor))
    centre = (intrinsics[1, 2], intrinsics[0, 2])
    top, left = (
        int(np.floor(c) - np.floor(min(n / 2, c))) for n, c in zip(size, centre, strict=True)
    )
    shrinks = resized[0] < original[0] or resized[1] < original[1]
    method = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    image = np.asarray(Image.fromarray(frame.image).resize((resized[1], resized[0]), method))
    image = image[top : top + size[0], left : left + size[1]]
    rows = _nearest(original[0], resized[0])[top : top + size[0]]
    columns = _nearest(original[1], resized[1])[left : left + size[1]]
    return dataclasses.replace(
        frame,
        image=_padded(image, size),
        depth=_padded(frame.depth[rows[:, None], columns], size),
        intrinsics=crop_intrinsics(intrinsics, top, left),
    )


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
