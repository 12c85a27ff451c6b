"""Photographs and arrays of any pixel format as 8-bit RGB frames."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
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

if TYPE_CHECKING:
    from jaxtyping import UInt8

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("apng", "avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpeg", "jpg", "mpo"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
"""Suffixes of the images listed in a folder or a glob; a file named explicitly may have any."""

RAW_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *(
            "3fr",
            "arw",
            "cr2",
            "cr3",
            "crw",
            "dng",
            "erf",
            "gpr",
            "iiq",
            "mef",
            "mos",
            "nef",
            "nrw",
        ),
        *("orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)
"""Suffixes of undeveloped pictures of cameras; Pillow would read the small preview of some."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_DNG_VERSION = 50706  # tag of raw files in the TIFF format
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
        raise UserError(_explain(path, error)) from error


class _RefusedError(UserError):
    """A file that is not decoded, with a complete sentence."""


def is_special(path: Path) -> bool:
    """Whether a path is a pipe, a socket or a device; opening one may wait for ever."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _open(path: Path) -> Image.Image:
    if is_special(path):
        raise _RefusedError(f"{path} is a pipe or a device, not a file: copy its content to a file")
    try:
        image = Image.open(path)
    except Image.UnidentifiedImageError:
        if not (_is_heic(path) and _can_read_heic()):
            raise
        return Image.open(path)
    if path.suffix.lower() in RAW_SUFFIXES or _DNG_VERSION in getattr(image, "tag_v2", ()):
        image.close()
        raise _RefusedError(_explain_raw(path))
    return image


@functools.cache
def _can_read_heic() -> bool:
    """Make Pillow read HEIC by an optional package; whether there is one."""
    for name in ("pi_heif", "pillow_heif"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name).register_heif_opener()
            return True
    return False


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


def _explain(path: Path, error: BaseException) -> str:
    """The error in one sentence: file, cause and remedy."""
    if not path.exists():
        return f"{path} does not exist: check the path"
    if _is_heic(path) and not _can_read_heic():
        return (
            f"{path} is a HEIC image, which needs a reader: pip install 'zipmap-jax[heic]', or "
            "convert it to JPEG or PNG"
        )
    suffix = path.suffix.lower()
    if suffix in RAW_SUFFIXES:
        return _explain_raw(path)
    if suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"):
        return f"{path} is an archive, not an image: unpack it and name the folder"
    if suffix in (".npy", ".npz"):
        return f"{path} holds arrays, not an image: pass them to zipmap_jax.reconstruct in Python"
    if _starts_with(path, _JPEG_XL):
        return f"{path} is a JPEG XL image, which is not supported: convert it to JPEG or PNG"
    if isinstance(error, Image.UnidentifiedImageError):
        return (
            f"{path} is not an image in a known format: leave it out, or convert it to JPEG or PNG"
        )
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        return f"{path} is larger than {limit} megapixels: resize it, or leave it out"
    reason = str(getattr(error, "strerror", None) or error).rstrip(".").replace("\n", " ")
    reason = reason or type(error).__name__
    return f"{path} cannot be read as an image ({reason}): copy or export it again, or leave it out"


def _explain_raw(path: Path) -> str:
    return f"{path} is a camera raw file, which is not supported: develop it to JPEG or PNG"


def _is_heic(path: Path) -> bool:
    head = _head(path)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


def _starts_with(path: Path, signatures: tuple[bytes, ...]) -> bool:
    return _head(path).startswith(signatures)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError:
        return b""


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
