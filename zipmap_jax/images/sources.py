"""The ordered list of frames that folders, files, globs, videos and arrays contain."""

from __future__ import annotations

import dataclasses
import glob
import math
import numbers
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zipmap_jax.errors import UserError, require_whole
from zipmap_jax.files import natural_order
from zipmap_jax.images.animation import index_pictures, list_pictures
from zipmap_jax.images.decode import Frame, from_array, image_size
from zipmap_jax.images.file_kinds import IMAGE_SUFFIXES, RAW_SUFFIXES, is_special
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.video import VIDEO_SUFFIXES, frame_size, is_video
from zipmap_jax.images.video_index import DamagedVideoError, list_frames

_OTHERS = VIDEO_SUFFIXES | RAW_SUFFIXES | {".jxl"}
"""Suffixes of pictures and films of a folder that are not among its images."""
_OF_OTHERS = "name a video itself to use it, and convert raw files and JPEG XL to JPEG"
_MAPS = re.compile(r"(?i)mask|depth|normal|semantic|segment|disparity|confidence")
"""Names of folders whose pictures are not photographs."""


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """A frame to read: an image file, a decoded array, or a frame of a video or an animation.

    Attributes:
      item: file, or decoded array.
      frame: number, from 0, of the frame in a file of several; None = the file has one.
    """

    item: Path | Frame
    frame: int | None = None


def list_sources(inputs: Any, options: ReadOptions | None = None) -> list[ImageSource]:
    """Lists the frames of the inputs in order.

    Images are opened for their headers only; videos and animations are decoded once for the times
    of their frames.

    The inputs keep their order; the files of a folder or a glob are in natural order of their paths
    (`2.jpg` precedes `10.jpg`). A folder contributes the images directly in it, by suffix and
    without hidden files; if it has none, those of its only sub-folder with images, except for masks
    and maps of depth or normals. An explicitly named file is always listed.

    Args:
      inputs: a path, glob, array [h, w, 3] or [v, h, w, 3], or a sequence of these.
      options: rate and number of the frames; `strict` makes damaged videos and fewer frames than
        `max_views` errors.

    Raises:
      UserError: no input, a missing path, a folder or glob without images, an array that is not
        an image, a repeated video or animation, or an option out of its range.
    """
    options = options or ReadOptions()
    fps = options.fps
    require_whole(None, size=options.size)
    require_whole(max_views=options.max_views, output_size=options.output_size)
    if not isinstance(fps, numbers.Real) or not 1e-6 <= fps < math.inf:
        raise UserError(f"fps must be a positive number of frames per second, got {fps!r}: try 1")
    sources: list[ImageSource] = []
    several: set[Path] = set()
    accompanied: list[Path] = []
    folders: set[Path] = set()
    for item in _items(inputs):
        if not isinstance(item, str | os.PathLike):
            sources.append(ImageSource(from_array(item, len(sources))))
            continue
        paths = _expand(os.fspath(item))
        if Path(item).expanduser().is_dir():
            folders.add(paths[0].parent.resolve())
        for path in paths:
            special = is_special(path)
            frames = None if special else _frames_of(path, options)
            if frames is None:
                known = special or path in accompanied
                index = None if known else index_pictures(path, options.exif)
                accompanied += [path] if index and index.total > len(index.numbers) else []
                sources.append(ImageSource(path))
                continue
            if path in several:
                raise UserError(f"{path} occurs twice in the input: name each video once")
            several.add(path)
            sources.extend(ImageSource(path, frame) for frame in frames)
    if accompanied:
        others = f" and {len(accompanied) - 1} more files" if len(accompanied) > 1 else ""
        warnings.warn(
            f"{accompanied[0]}{others} hold previews or stereo partners besides the first picture, "
            "which alone is used: save these as files of their own to use them",
            stacklevel=2,
        )
    for folder in folders:
        _warn_of_others(folder, sources)
    selected = evenly_spaced(sources, options.max_views)
    if several and len(selected) < (options.max_views or 0):
        sentence = (
            f"max_views is {options.max_views}, but fps {fps:g} gives {len(selected)} views: "
            "raise fps, or lower max_views"
        )
        if options.strict:
            raise UserError(sentence)
        warnings.warn(sentence, stacklevel=2)
    return selected


def _frames_of(path: Path, options: ReadOptions) -> list[int] | None:
    """The frames to use of a video or an animation; None for a file of one picture."""
    if not is_video(path):
        return list_pictures(path, options.fps, options.exif, options.strict)
    try:
        return list_frames(path, options.fps, options.strict)
    except DamagedVideoError:
        raise
    except UserError:
        return [0]  # the reader raises the error


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
    sizes: dict[Path, dict[int | None, tuple[int, int]]] = {}
    source_sizes: list[tuple[int, int] | None] = []
    for source in sources:
        if isinstance(source.item, Frame):
            source_sizes.append(source.item.image.shape[:2])
            continue
        if source.item not in sizes:
            sizes[source.item] = _probe(source, exif)
        known = sizes[source.item]
        source_sizes.append(known.get(source.frame, known.get(None)))
    return [size for size in source_sizes if size is not None]


def _probe(source: ImageSource, exif: bool) -> dict[int | None, tuple[int, int]]:
    """Sizes by number of the frame; None for all frames."""
    path = source.item
    assert isinstance(path, Path)
    try:
        if source.frame is None:
            return {None: image_size(path, exif)}
        if is_video(path):
            return {None: frame_size(path, exif)}
    except UserError:
        return {}
    index = index_pictures(path, exif)
    return {} if index is None else dict(zip(index.numbers, index.sizes, strict=True))


def _items(inputs: Any) -> list[Any]:
    """The inputs as a list of paths and single arrays."""
    if isinstance(inputs, str | os.PathLike):
        return [inputs]
    if inputs is None or isinstance(inputs, bool | bytes | Mapping | numbers.Number):
        raise UserError(
            f"the input is of type {type(inputs).__name__}: give a folder, images, a glob, a video "
            "or arrays"
        )
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
        return _images_of_folder(path)
    if name and path.exists():
        return [path]
    if glob.has_magic(name):
        matches = (Path(match) for match in glob.glob(str(path), recursive=True))
        return _images(matches, f"glob {name}", "image or video", VIDEO_SUFFIXES)
    if "://" in name:
        raise UserError(f"{name} is an address, not a path: download the file and name it")
    raise UserError(f"{name or 'the empty path'} does not exist: check the path")


def _images_of_folder(folder: Path) -> list[Path]:
    """The images directly in a folder, or else in its only sub-folder that has some."""
    inside = list(folder.iterdir())
    if not _visible(inside, IMAGE_SUFFIXES):
        below = [
            sub
            for sub in sorted(inside, key=natural_order)
            if not sub.name.startswith(".") and sub.is_dir() and not _MAPS.search(sub.name)
            if os.access(sub, os.R_OK | os.X_OK)
            if _visible(sub.iterdir(), IMAGE_SUFFIXES)
        ]
        if len(below) > 1:
            names = [str(sub) for sub in below[:4]] + ["..."] * (len(below) > 4)
            raise UserError(
                f"folder {folder} contains no images itself: did you mean {' or '.join(names)}? "
                "(zipmap batch takes every folder as a scene)"
            )
        if below:
            warnings.warn(f"the images are those of {below[0]}", stacklevel=2)
            return _images_of_folder(below[0])
        if others := _visible(inside, _OTHERS):
            raise UserError(
                f"folder {folder} contains no images, but {_some_names(others)}: {_OF_OTHERS}"
            )
    return _images(inside, f"folder {folder}", "images")


def _warn_of_others(folder: Path, sources: Sequence[ImageSource]) -> None:
    """Warn of pictures and films in a folder that are not used.

    A raw file or a short film that accompanies its photograph has the same name.
    """
    used = {source.item for source in sources if isinstance(source.item, Path)}
    stems = {path.stem for path in used if path.parent.resolve() == folder}
    others = [path for path in _visible(folder.iterdir(), _OTHERS) if path.stem not in stems]
    if others:
        warnings.warn(
            f"{len(others)} file{'s' * (len(others) > 1)} of folder {folder} not used "
            f"({_some_names(others)}): {_OF_OTHERS}",
            stacklevel=3,
        )


def _some_names(paths: Sequence[Path]) -> str:
    names = [path.name for path in sorted(paths, key=natural_order)]
    return ", ".join(names[:3] + ["..."] * (len(names) > 3))


def _visible(paths: Iterable[Path], suffixes: frozenset[str]) -> list[Path]:
    return [p for p in paths if p.suffix.lower() in suffixes and not p.name.startswith(".")]


def _images(
    paths: Iterable[Path], place: str, kind: str, suffixes: frozenset[str] = frozenset()
) -> list[Path]:
    suffixes |= IMAGE_SUFFIXES
    images = sorted(_visible(paths, suffixes), key=natural_order)
    if not images:
        raise UserError(
            f"{place} contains no {kind} (.jpg, .png, ...): check the path, or name the files or "
            "the video"
        )
    return images
