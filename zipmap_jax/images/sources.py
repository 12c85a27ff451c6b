"""From what the user names (folders, files, globs, videos, arrays) to an ordered list of frames."""

from __future__ import annotations

import dataclasses
import glob
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.images import video
from zipmap_jax.images.decode import IMAGE_SUFFIXES, Frame, from_array, image_size


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """One frame to be read: an image file, the n-th sampled frame of a video, or an array."""

    item: Path | Frame
    frame: int | None = None


def list_sources(inputs: Any, fps: float = 1.0, strict: bool = False) -> list[ImageSource]:
    """Every frame that the inputs name, in order, before anything is decoded.

    Inputs keep the order in which they are given; within a folder or a glob it is the plain sorted
    order of the paths (so `10.jpg` comes before `2.jpg`, as in the reference). Folders are not
    searched recursively and videos in them are not read; files that are not images by their
    suffix, and hidden files, are left out silently. A file that is named itself is always listed.

    Args:
      inputs: a path, glob, array [h, w, 3] or [v, h, w, 3], or a sequence of these.
      fps: frames kept per second of video.
      strict: fail on a video that breaks off, instead of warning.

    Raises:
      UserError: no input, a missing path, a folder or glob without images, an array that is not
        an image, a video given twice.
    """
    if not 1e-6 <= fps < math.inf:
        raise UserError(f"fps must be a positive number of frames per second, got {fps}: try 1")
    sources: list[ImageSource] = []
    videos: set[Path] = set()
    for item in _items(inputs):
        if not isinstance(item, str | os.PathLike):
            sources.append(ImageSource(from_array(item, len(sources))))
            continue
        for path in _expand(os.fspath(item)):
            if path.suffix.lower() in video.VIDEO_SUFFIXES:
                if path in videos:
                    raise UserError(f"{path} is given twice: name each video once")
                videos.add(path)
                sources.extend(
                    ImageSource(path, frame) for frame in range(_count(path, fps, strict))
                )
            else:
                sources.append(ImageSource(path))
    return sources


def _count(path: Path, fps: float, strict: bool) -> int:
    try:
        return video.count_frames(path, fps, strict)
    except video.BrokenOff:
        raise
    except UserError:
        return 1  # reading it raises the error


def evenly_spaced(sources: Sequence[ImageSource], count: int | None) -> list[ImageSource]:
    """`count` sources at rounded equal distances, first and last included; all if there are fewer.

    Raises:
      UserError: `count` is less than 1.
    """
    if count is not None and count < 1:
        raise UserError(f"max_views must be at least 1, got {count}: leave it out to take all")
    if count is None or count >= len(sources):
        return list(sources)
    return [sources[i] for i in np.rint(np.linspace(0, len(sources) - 1, count)).astype(int)]


def probe_sizes(sources: Sequence[ImageSource], exif: bool = True) -> list[tuple[int, int]]:
    """(height, width) of the sources, from their headers; unreadable ones are left out."""
    sizes: dict[Path, tuple[int, int] | None] = {}
    found = []
    for source in sources:
        if isinstance(source.item, Frame):
            found.append(source.item.image.shape[:2])
            continue
        if source.item not in sizes:
            sizes[source.item] = _probe(source, exif)
        found.append(sizes[source.item])
    return [size for size in found if size is not None]


def _probe(source: ImageSource, exif: bool) -> tuple[int, int] | None:
    assert isinstance(source.item, Path)
    try:
        return (image_size if source.frame is None else video.frame_size)(source.item, exif)
    except UserError:
        return None


def _items(inputs: Any) -> list[Any]:
    """The inputs as a list of paths and single arrays."""
    if isinstance(inputs, str | os.PathLike):
        return [inputs]
    if not isinstance(inputs, Iterable) or getattr(inputs, "ndim", 4) < 4:
        inputs = [inputs]
    items = list(inputs)
    if not items:
        raise UserError("there is no input: give a folder, images, a glob, a video or arrays")
    return items


def _expand(name: str) -> list[Path]:
    """The files that one path or glob stands for, sorted."""
    path = Path(name).expanduser()
    if name and path.is_dir():
        return _images(path.iterdir(), f"folder {path}", "images")
    if name and path.exists():
        return [path]
    if glob.has_magic(name):
        matches = (Path(match) for match in glob.glob(str(path), recursive=True))
        return _images(matches, f"glob {name}", "image or video", video.VIDEO_SUFFIXES)
    raise UserError(f"{name or 'the empty path'} does not exist: check the path")


def _images(
    paths: Iterable[Path], where: str, what: str, more: frozenset[str] = frozenset()
) -> list[Path]:
    suffixes = IMAGE_SUFFIXES | more
    found = sorted(
        (p for p in paths if p.suffix.lower() in suffixes and not p.name.startswith(".")), key=str
    )
    if not found:
        raise UserError(
            f"{where} has no {what} (files ending in .jpg, .png, ...): check the path, or name the "
            "files or the video itself"
        )
    return found
