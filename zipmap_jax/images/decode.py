"""Photographs and arrays as 8-bit RGB frames, whatever pixel format they come in."""

from __future__ import annotations

import dataclasses
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import UInt8

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpeg", "jpg", "mpo"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
"""What counts as an image when a folder or a glob is listed; a file named explicitly may differ."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_FLOAT_SLACK = 1e-3  # resampling filters overshoot a little; anything more is another unit
_DECODING_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,  # Pillow raises it for broken PNG chunks
    ValueError,
    RuntimeError,  # of the AVIF decoder
    MemoryError,  # a damaged header states sizes without limit
    struct.error,
    Image.DecompressionBombError,
)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One picture as the user sees it, at its original size.

    Attributes:
      image: RGB, upright (orientation tags applied).
      name: file name, or the label of a video frame or array.
      time: seconds from the first frame of the video; None for photographs and arrays.
    """

    image: UInt8[np.ndarray, "h w 3"]
    name: str
    time: float | None = None


def read_image(path: Path, exif: bool = True) -> Frame:
    """Read one image file; of an animation or a multi-page file, the first picture.

    Args:
      path: file to read; its content decides the format, not its name.
      exif: apply the EXIF orientation, as viewers do.

    Raises:
      UserError: the file is missing, truncated, not an image, or in an unsupported format.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return Frame(to_rgb(image, exif), path.name)
    except _DECODING_ERRORS as error:
        raise UserError(_explain(path, error)) from error


def image_size(path: Path, exif: bool = True) -> tuple[int, int]:
    """(height, width) that `read_image` would give, from the file's header.

    Raises:
      UserError: the file is missing or not an image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            lies = exif and image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except _DECODING_ERRORS as error:
        raise UserError(_explain(path, error)) from error
    return (width, height) if lies else (height, width)


def to_rgb(image: Image.Image, exif: bool = True) -> UInt8[np.ndarray, "h w 3"]:
    """Any Pillow image as 8-bit RGB.

    Transparent pixels are composited on white. Grey formats deeper than 8 bits are scaled, not
    clipped: 16-bit by 255/65535; 32-bit integers and floats by the smallest of 1 (floats only),
    255 (floats only), 65535 and their own maximum that holds their values. CMYK, YCbCr, Lab and
    palettes are converted by Pillow without colour management.

    Raises:
      UserError: a floating point image holds NaN or infinity.
    """
    if exif:
        image = _upright(image)
    if image.mode.startswith(("I", "F")):
        grey = _scale_to_8_bits(image)
        return np.repeat(grey[..., None], 3, axis=-1)
    # Parity: the reference composites mode RGBA only; here LA, PA and transparent palettes as well.
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
            "rotate the picture in an editor if it lies on its side",
            stacklevel=3,
        )
        return image


def _scale_to_8_bits(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    grey = np.asarray(image).astype(np.float64)
    if not np.isfinite(grey).all():
        raise UserError("it holds NaN or infinite values")
    ranges = (1.0, 255.0, 65535.0) if image.mode.startswith("F") else (65535.0,)
    top = grey.max(initial=0.0)
    white = next((r for r in ranges if top <= r), top)
    return np.rint(grey.clip(0.0) * (255.0 / white)).astype(np.uint8)


def _explain(path: Path, error: BaseException) -> str:
    """One sentence: which file, what is wrong with it, what to do."""
    if not path.exists():
        return f"{path} does not exist: check the path"
    if _is_heic(path):
        return f"{path} is a HEIC image, which is not supported: convert it to JPEG or PNG"
    if isinstance(error, Image.UnidentifiedImageError):
        return (
            f"{path} is not an image in a known format: leave it out, or convert it to JPEG or PNG"
        )
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        return f"{path} is larger than {most} megapixels: resize it, or leave it out"
    reason = str(getattr(error, "strerror", None) or error).rstrip(".").replace("\n", " ")
    reason = reason or type(error).__name__
    return f"{path} cannot be read as an image ({reason}): copy or export it again, or leave it out"


def _is_heic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return path.suffix.lower() in (".heic", ".heif")
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


def from_array(array: Any, index: int = 0) -> Frame:
    """A frame from an array [h, w, 3] of RGB: uint8, or floating point in [0, 1].

    Floating point is rounded to 8 bits, the format of every other source.

    Raises:
      UserError: wrong shape, dtype or range, or NaN; the message names `index`.
    """
    image = np.asarray(array)
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
        raise UserError(
            f"image {index} holds NaN or infinity: replace these values before reconstructing"
        )
    low, high = float(image.min()), float(image.max())
    if low < -_FLOAT_SLACK or high > 1 + _FLOAT_SLACK:
        raise UserError(
            f"image {index} must lie in [0, 1], got values from {low:g} to {high:g}: "
            "divide by 255, or pass uint8"
        )
    return np.rint(image.astype(np.float32).clip(0, 1) * 255).astype(np.uint8)


class UniqueNames:
    """Names with `-2`, `-3` ... appended to the stem of those that occurred before."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """`name`, or the first variant of it that is not taken."""
        path, count, variant = Path(name), self._counts.get(name, 1), name
        while variant in self._taken:
            count += 1
            variant = f"{path.stem}-{count}{path.suffix}"
        self._counts[name] = count
        self._taken.add(variant)
        return variant
