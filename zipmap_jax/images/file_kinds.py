"""Which files are images: suffixes, signatures, optional readers, and why a file is not read."""

from __future__ import annotations

import contextlib
import functools
import importlib
from pathlib import Path

from PIL import Image

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("apng", "avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpeg", "jpg", "mpo"),
        *("pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
"""Suffixes of the images listed in a folder or a glob; a file named explicitly may have any."""

RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dng .erf .gpr .iiq .mef .mos .nef .nrw .orf .pef .raf .raw .rw2 "
    ".rwl .sr2 .srf .srw .x3f".split()
)
"""Suffixes of undeveloped pictures of cameras; Pillow would read the small preview of some."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
DNG_VERSION = 50706
"""TIFF tag of camera raw files in that format."""


def is_special(path: Path) -> bool:
    """Whether a path is a pipe, a socket or a device; opening one may wait for ever."""
    return path.exists() and not path.is_file() and not path.is_dir()


def is_heic(path: Path) -> bool:
    """Whether the content of a file is HEIC."""
    head = _head(path)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


@functools.cache
def can_read_heic() -> bool:
    """Make Pillow read HEIC by an optional package; whether there is one."""
    for name in ("pi_heif", "pillow_heif"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name).register_heif_opener()
            return True
    return False


def explain(path: Path, error: BaseException) -> str:
    """The error of reading an image in one sentence: file, cause and remedy."""
    if not path.exists():
        return f"{path} does not exist: check the path"
    if is_heic(path) and not can_read_heic():
        return (
            f"{path} is a HEIC image, which needs a reader: pip install 'zipmap-jax[heic]', or "
            "convert it to JPEG or PNG"
        )
    suffix = path.suffix.lower()
    if suffix in RAW_SUFFIXES:
        return explain_raw(path)
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


def explain_raw(path: Path) -> str:
    """The sentence about a camera raw file."""
    return f"{path} is a camera raw file, which is not supported: develop it to JPEG or PNG"


def _starts_with(path: Path, signatures: tuple[bytes, ...]) -> bool:
    return _head(path).startswith(signatures)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(12)
    except OSError:
        return b""
