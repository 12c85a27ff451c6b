"""Size, crop and padding of network images, and their maps to the original pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from zipmap_jax.errors import UserError
from zipmap_jax.geometry.pixel_map import PixelMap

if TYPE_CHECKING:
    from jaxtyping import UInt8

Mode = Literal["crop", "pad"]
_MAX_SIZE = 8192
_MIN_PATCHES = 2  # per side; fewer carry no geometry


def reduced_shape(shape: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """Returns the (height, width) of an image reduced to a maximum side; None = not reduced."""
    if longest is None or max(shape) <= longest:
        return shape
    height, width = (max(1, round(side * longest / max(shape))) for side in shape)
    return height, width


def reduced(image: UInt8[np.ndarray, "h w 3"], longest: int | None) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Returns the image in its `reduced_shape`, resampled with an antialiasing filter."""
    height, width = reduced_shape(image.shape[:2], longest)
    if (height, width) == image.shape[:2]:
        return image
    small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS, None, 3.0)
    return np.asarray(small)


def resized_shape(
    height: int, width: int, size: int = 518, patch: int = 14, mode: Mode = "crop"
) -> tuple[int, int]:
    """Returns the size of an image after resizing, before cropping or padding.

    In mode "crop" the width becomes `size` and the height `patch * round(height * size / width /
    patch)`; in mode "pad" the longer side becomes `size` and the other one follows likewise. Ties
    round to even.

    Returns:
      (height, width) in pixels.

    Raises:
      UserError: `size` is not a positive multiple of `patch`, the mode is unknown, or the image
        is smaller than two patches along a side, before or after resizing.

    Source: ZipMap's demonstration, image preprocessing.
    """
    _check_size(size, patch)
    if mode not in ("crop", "pad"):
        raise UserError(f'mode must be "crop" or "pad", got {mode!r}: choose one of them')
    min_side = _MIN_PATCHES * patch
    if min(height, width) < min_side:
        raise UserError(
            f"an image must be at least {min_side}x{min_side} pixels, got {width}x{height}: "
            "use a larger image"
        )
    # Parity: the order of evaluation decides ties of the rounding.
    if mode == "crop" or width >= height:
        shape = patch * round(height * (size / width) / patch), size
    else:
        shape = size, patch * round(width * (size / height) / patch)
    if min(shape) < min_side:
        raise UserError(
            f"an image of {width}x{height} pixels is too elongated for the network, resized to "
            f"{shape[1]}x{shape[0]}: crop it, or raise the network size above {size}"
        )
    return shape


def _check_size(size: int, patch: int) -> None:
    if size > _MAX_SIZE:
        raise UserError(
            f"the network size must be at most {_MAX_SIZE}, got {size}: leave it out, since models "
            "are trained for a few hundred pixels"
        )
    if size < _MIN_PATCHES * patch or size % patch:
        nearest = max(_MIN_PATCHES, round(size / patch)) * patch
        raise UserError(
            f"the network size must be a multiple of the patch size {patch} and at least "
            f"{_MIN_PATCHES * patch}, got {size}: try {nearest}"
        )


def fit(
    image: UInt8[np.ndarray, "h w 3"], size: int = 518, patch: int = 14, mode: Mode = "crop"
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], PixelMap]:
    """Resizes an image (Pillow's bicubic filter on 8 bits), then crops it or pads it with white.

    Args:
      image: RGB.
      size: width in mode "crop", where taller images lose rows at the top and the bottom; both
        sides in mode "pad".
      patch: patch size of the model.
      mode: "crop" or "pad".

    Returns:
      The network image and the map from its pixels to the original ones.

    Raises:
      UserError: as `resized_shape`.
    """
    height, width = image.shape[:2]
    new_h, new_w = resized_shape(height, width, size, patch, mode)
    resized = np.asarray(Image.fromarray(image).resize((new_w, new_h), Image.Resampling.BICUBIC))
    top = max(0, (new_h - size) // 2)
    resized = resized[top : top + size]
    scale_x, scale_y = width / new_w, height / new_h
    pixel_map = PixelMap(
        scale_x=scale_x,
        scale_y=scale_y,
        offset_x=0.5 * scale_x - 0.5,
        offset_y=(top + 0.5) * scale_y - 0.5,
        visible=(0, 0, new_w, resized.shape[0]),
        network_size=(resized.shape[0], new_w),
        original_size=(height, width),
    )
    return centred(resized, pixel_map, (size, size)) if mode == "pad" else (resized, pixel_map)


def network_shape(
    original_sizes: Sequence[tuple[int, int]], size: int = 518, patch: int = 14, mode: Mode = "crop"
) -> tuple[int, int]:
    """Returns the common (height, width) of the network images of originals of these sizes.

    Raises:
      UserError: as `resized_shape`.
    """
    shapes = [resized_shape(h, w, size, patch, mode) for h, w in original_sizes]
    if mode == "pad":
        return size, size
    return max(min(h, size) for h, _ in shapes), max(w for _, w in shapes)


def centred(
    image: UInt8[np.ndarray, "h w 3"], pixel_map: PixelMap, size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], PixelMap]:
    """Pads an image with white on all sides; an odd remainder goes to the bottom and the right."""
    if image.shape[:2] == size:
        return image, pixel_map
    top, left = (size[0] - image.shape[0]) // 2, (size[1] - image.shape[1]) // 2
    canvas = np.full((*size, 3), 255, np.uint8)
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas, pixel_map.shifted(left, top, size)
