"""Photographs and arrays of any pixel format as 8-bit RGB frames."""

from __future__ import annotations

import dataclasses
import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from zipmap_jax.errors import UserError
from zipmap_jax.images.bit_depth import (
    possible_whites,
    scale_floats,
    scale_integers,
    with_low_bits,
)
from zipmap_jax.images.current import decoding
from zipmap_jax.images.file_kinds import (
    DNG_VERSION,
    RAW_SUFFIXES,
    can_read_heic,
    explain,
    explain_raw,
    is_heic,
    is_special,
)

if TYPE_CHECKING:
    from jaxtyping import UInt8

_FLOAT_SLACK = 1e-3  # resampling filters overshoot by less; larger values have another unit
_DECODING_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,  # Pillow raises it for broken PNG chunks
    ValueError,
    RuntimeError,  # raised by the AVIF decoder
    MemoryError,  # a damaged header states sizes without limit
    struct.error,
    Image.DecompressionBombError,
)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One upright picture.

    Attributes:
      image: RGB, with the recorded orientation applied.
      name: file name, or the label of a video frame or array.
      time: seconds from the first frame of the video; None for photographs and arrays.
      original_size: (height, width) before `image` was reduced; None = not reduced.
    """

    image: UInt8[np.ndarray, "h w 3"]
    name: str
    time: float | None = None
    original_size: tuple[int, int] | None = None


def read_image(path: Path, exif: bool = True) -> Frame:
    """Reads an image file; of several pictures the first one (see `zipmap_jax.images.animation`).

    Args:
      path: the file; its content, not its name, determines the format.
      exif: apply the EXIF orientation.

    Raises:
      UserError: the file is missing, truncated, not an image, or in an unsupported format.
    """
    with opened_image(path) as image:
        try:
            image.load()
        except OSError:
            complete = _with_end_marker(path) if image.format in ("JPEG", "MPO") else None
            if complete is None:
                raise
            warnings.warn(
                f"{path} lacks its end marker, but all rows are there: it is read", stacklevel=2
            )
            return Frame(to_rgb(complete, exif), path.name)
        return Frame(to_rgb(with_low_bits(image, path) or image, exif), path.name)


def _with_end_marker(path: Path) -> Image.Image | None:
    """Decodes a JPEG that lacks only its end; None if rows are missing.

    libjpeg ignores data between the last row and the end marker, but decodes it as pixels where
    rows are missing. So the picture is complete if such data changes no pixel.
    """
    data = path.read_bytes().removesuffix(b"\xff")
    pictures = []
    for filling in (b"", b"\x5a\xa5" * 64):
        image = Image.open(io.BytesIO(data + filling + b"\xff\xd9"))
        image.load()
        pictures.append(image)
    same = pictures[0].tobytes() == pictures[1].tobytes()
    return pictures[0] if same else None


@contextmanager
def opened_image(path: Path) -> Iterator[Image.Image]:
    """Opens an image file with Pillow; errors of decoding in the block become a `UserError`."""
    try:
        with decoding(path), _open(path) as image:
            yield image
    except _RefusedError:
        raise
    except _DECODING_ERRORS as error:
        raise UserError(explain(path, error)) from error


class _RefusedError(UserError):
    """A file that is not decoded, with a complete sentence."""


def _open(path: Path) -> Image.Image:
    if is_special(path):
        raise _RefusedError(f"{path} is a pipe or a device, not a file: copy its content to a file")
    try:
        image = Image.open(path)
    except Image.UnidentifiedImageError:
        if not (is_heic(path) and can_read_heic()):
            raise
        return Image.open(path)
    if path.suffix.lower() in RAW_SUFFIXES or DNG_VERSION in getattr(image, "tag_v2", ()):
        image.close()
        raise _RefusedError(explain_raw(path))
    return image


def image_size(path: Path, exif: bool = True) -> tuple[int, int]:
    """Returns the (height, width) of an image after `read_image`, from the file's header.

    Raises:
      UserError: the file is missing or not an image.
    """
    with opened_image(path) as image:
        return upright_size(image, exif)


def upright_size(image: Image.Image, exif: bool = True) -> tuple[int, int]:
    """Returns the (height, width) of an image after `to_rgb`, from its header."""
    width, height = image.size
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if exif else 1
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)


def to_rgb(image: Image.Image, exif: bool = True) -> UInt8[np.ndarray, "h w 3"]:
    """Converts a Pillow image to 8-bit RGB.

    Transparent pixels are composited on white. Grey formats deeper than 8 bits are scaled by
    255/white, not clipped. White is the maximum that a TIFF file states; else the smallest of 1
    (floats only), 255, 1023, 4095 and 16383 (integers only), 65535 and the image's maximum that is
    not below any value, with a warning if an integer image uses less than 16 bits. Pillow converts
    CMYK, YCbCr, Lab and palettes without colour management.

    Raises:
      UserError: a floating-point image holds NaN or infinity.
    """
    original = image
    if exif:
        image = _upright(image)
    if image.mode.startswith("F"):
        return _from_grey(scale_floats(np.asarray(image, np.float64)))
    if image.mode.startswith("I"):
        name = Path(getattr(original, "filename", "") or "a picture").name
        return _from_grey(scale_integers(np.asarray(image), name, possible_whites(original)))
    # Parity: the reference composites only RGBA, this function also LA, PA and palettes.
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.array(image.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DECODING_ERRORS as error:
        name = getattr(image, "filename", "an image")
        warnings.warn(
            f"the EXIF orientation of {name} is damaged ({error}) and is ignored: "
            "rotate the picture in an editor if it is not upright",
            stacklevel=3,
        )
        return image


def _from_grey(grey: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.repeat(grey[..., None], 3, axis=-1)


def from_array(array: Any, index: int = 0) -> Frame:
    """Makes a frame of an RGB array [h, w, 3], uint8 or floating point in [0, 1].

    Floating-point values are rounded to 8 bits, the format of all frames.

    Args:
      array: the image.
      index: number of the image in the name and in errors.

    Raises:
      UserError: the shape, the dtype or the range is wrong, or a value is NaN.
    """
    image = np.asarray(array)
    if image.ndim == 3 and image.shape[0] == 3 != image.shape[-1] and image.size:
        raise UserError(
            f"image {index} has its channels first, shape {image.shape}: pass "
            "np.moveaxis(image, -3, -1), [height, width, 3]"
        )
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise UserError(
            f"image {index} must be an array [height, width, 3] of RGB, got shape {image.shape}: "
            "put channels last and repeat a grey image three times"
        )
    if np.issubdtype(image.dtype, np.floating):
        image = _quantise(image, index)
    if image.dtype != np.uint8:
        raise UserError(
            f"image {index} must be uint8 or floating point in [0, 1], got {image.dtype}: "
            "convert it with astype"
        )
    return Frame(np.array(image), f"view_{index:03d}")


def _quantise(image: np.ndarray, index: int) -> UInt8[np.ndarray, "h w 3"]:
    if not np.isfinite(image).all():
        raise UserError(f"image {index} contains NaN or infinity: replace these values")
    low, high = float(image.min()), float(image.max())
    if low < -_FLOAT_SLACK or high > 1 + _FLOAT_SLACK:
        raise UserError(
            f"image {index} must have values in [0, 1], got {low:g} to {high:g}: "
            "divide by 255, or pass uint8"
        )
    return np.rint(image.astype(np.float32).clip(0, 1) * 255).astype(np.uint8)


class UniqueNames:
    """Distinct names: `-2`, `-3` and so on are appended to the stem of a repeated name."""

    def __init__(self) -> None:
        self._returned: set[str] = set()
        self._counts: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """Returns `name`, or its first variant that was not returned before."""
        path, count, variant = Path(name), self._counts.get(name, 1), name
        while variant in self._returned:
            count += 1
            variant = f"{path.stem}-{count}{path.suffix}"
        self._counts[name] = count
        self._returned.add(variant)
        return variant
