"""The ordered list of frames that folders, files, globs, videos and arrays contain."""

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
from zipmap_jax.images.options import ReadOptions


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """A frame to read: an image file, a decoded array, or the n-th sampled frame of a video."""

    item: Path | Frame
    frame: int | None = None


def list_sources(inputs: Any, options: ReadOptions | None = None) -> list[ImageSource]:
    """Lists the frames of the inputs in order, without decoding them.

    The inputs keep their order; the files of a folder or a glob are sorted by path (`10.jpg`
    precedes `2.jpg`, as in the reference). A folder contributes the images directly in it, by
    suffix and without hidden files; an explicitly named file is always listed.

    Args:
      inputs: a path, glob, array [h, w, 3] or [v, h, w, 3], or a sequence of these.
      options: rate and number of the frames; `strict` makes a truncated video an error.

    Raises:
      UserError: no input, a missing path, a folder or glob without images, an array that is not
        an image, a repeated video, or an option out of its range.
    """
    options = options or ReadOptions()
    fps = options.fps
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
                    raise UserError(f"{path} occurs twice in the input: name each video once")
                videos.add(path)
                count = _count(path, fps, options.strict)
                sources.extend(ImageSource(path, frame) for frame in range(count))
            else:
                sources.append(ImageSource(path))
    return evenly_spaced(sources, options.max_views)


def _count(path: Path, fps: float, strict: bool) -> int:
    try:
        return video.count_frames(path, fps, strict)
    except video.TruncatedVideoError:
        raise
    except UserError:
        return 1  # the reader raises the error


def evenly_spaced(sources: Sequence[ImageSource], count: int | None) -> list[ImageSource]:
    """Selects `count` sources at equal distances, with the first and the last; None = all.

    Raises:
      UserError: `count` is less than 1.
    """
    if count is not None and count < 1:
        raise UserError(f"max_views must be at least 1, got {count}: omit it to use all views")
    if count is None or count >= len(sources):
        return list(sources)
    return [sources[i] for i in np.rint(np.linspace(0, len(sources) - 1, count)).astype(int)]


def probe_sizes(sources: Sequence[ImageSource], exif: bool = True) -> list[tuple[int, int]]:
    """Returns the (height, width) of the readable sources, from their headers."""
    sizes: dict[Path, tuple[int, int] | None] = {}
    source_sizes = []
    for source in sources:
        if isinstance(source.item, Frame):
            source_sizes.append(source.item.image.shape[:2])
            continue
        if source.item not in sizes:
            sizes[source.item] = _probe(source, exif)
        source_sizes.append(sizes[source.item])
    return [size for size in source_sizes if size is not None]


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
        raise UserError("the input is empty: give a folder, images, a glob, a video or arrays")
    return items


def _expand(name: str) -> list[Path]:
    """The sorted files of a path or a glob."""
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
    paths: Iterable[Path], place: str, kind: str, suffixes: frozenset[str] = frozenset()
) -> list[Path]:
    suffixes |= IMAGE_SUFFIXES
    images = sorted(
        (p for p in paths if p.suffix.lower() in suffixes and not p.name.startswith(".")), key=str
    )
    if not images:
        raise UserError(
            f"{place} contains no {kind} (.jpg, .png, ...): check the path, or name the files or "
            "the video"
        )
    return images
