"""Pictures of more than 8 bits as 8 bits: which number is white."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import UInt8

WHITES = (255, 1023, 4095, 16383, 65535)
"""Maxima of 8 to 16 bits, all of which cameras store in numbers of 16 bits."""
_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE = 258, 281  # tags of TIFF 6.0


def with_low_bits(image: Image.Image, path: Path) -> Image.Image | None:
    """Decode a 16-bit RGB picture in full, if the upper 8 bits, which Pillow keeps, lack content.

    Returns:
      The picture scaled to 8 bits; None if it has 8 bits or uses the range of 16.
    """
    if image.mode not in ("RGB", "RGBA") or not _has_16_bits(image, path):
        return None
    if np.asarray(image)[..., :3].max() >= 64:
        return None
    import av

    with av.open(str(path)) as container:
        deep = next(container.decode(video=0)).to_ndarray(format="rgb48le")
    scaled = Image.fromarray(scale_integers(deep, path.name, WHITES))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    scaled.getexif()[ExifTags.Base.Orientation] = orientation
    return scaled


def scale_floats(grey: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """Scale so that the smallest of 1, 255, 65535 and the maximum that bounds all values is white.

    Raises:
      UserError: a value is NaN or infinite.
    """
    if not np.isfinite(grey).all():
        raise UserError("it contains NaN or infinity")
    maximum = grey.max(initial=0.0)
    white = next((r for r in (1.0, 255.0, 65535.0) if maximum <= r), maximum)
    return np.rint(grey.clip(0.0) * (255.0 / white)).astype(np.uint8)


def possible_whites(image: Image.Image) -> tuple[int, ...]:
    """Possible maxima of an integer image: one if its file states it."""
    if image.format == "PPM":
        return (65535,)  # Pillow scales by the maximum in the header
    stated = getattr(image, "tag_v2", {}).get(_MAX_SAMPLE_VALUE)
    return (int(np.max(stated)),) if stated else WHITES


def scale_integers(
    values: np.ndarray, name: str, whites: tuple[int, ...]
) -> UInt8[np.ndarray, "*shape"]:
    """Scale by the smallest range that holds all values; warn if the file does not state it."""
    maximum = int(values.max(initial=0))
    white = max(next((white for white in whites if maximum <= white), maximum), 1)
    if maximum and len(whites) > 1 and white < 65535:
        warnings.warn(
            f"{name} has values up to {maximum} in numbers of 16 bits and is read as a picture of "
            f"{white.bit_length()} bits: scale it to 16 bits if it is too bright",
            stacklevel=2,
        )
    return np.rint(values.clip(0) * (255.0 / white)).astype(np.uint8)


def _has_16_bits(image: Image.Image, path: Path) -> bool:
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24] == 16
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    return image.format == "TIFF" and max(bits, default=8) == 16
