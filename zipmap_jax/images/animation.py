"""Files of several pictures that Pillow reads: animations and multi-page images."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Collection, Generator
from pathlib import Path

import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.images.decode import Frame, opened_image, to_rgb, upright_size
from zipmap_jax.images.sampling import sampled_frames
from zipmap_jax.images.video_index import single_view

_ANIMATIONS = ("GIF", "WEBP", "PNG", "AVIF")
_STACKS = ("TIFF",)
_DEFAULT_DURATION = 100.0  # milliseconds of a picture that states none, as in browsers
_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 0b101  # TIFF 6.0: thumbnails and transparency masks


@dataclasses.dataclass(frozen=True)
class PictureIndex:
    """The pictures of a file with more than one.

    Attributes:
      numbers: those to use, from 0: the first alone if the others only accompany it, as the
        previews and stereo partners of phones (MPO).
      times: seconds from the first one, of animations; None for pages.
      sizes: (height, width) of each.
      total: number of pictures of the file, without thumbnails and masks of pages.
      problem: what is wrong with a damaged file, or None.
    """

    numbers: tuple[int, ...]
    times: tuple[float, ...] | None
    sizes: tuple[tuple[int, int], ...]
    total: int
    problem: str | None = None


def index_pictures(path: Path, exif: bool = True) -> PictureIndex | None:
    """Lists the pictures of a file; None if it has one, or is no image; last results are kept."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _index(path, exif, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _index(path: Path, exif: bool, modified: int, size: int) -> PictureIndex | None:
    numbers, durations, sizes, total, moves = [], [], [], 1, False
    problem = None
    try:
        with opened_image(path) as image:
            total = getattr(image, "n_frames", 1)
            if total == 1:
                return None
            moves = image.format in _ANIMATIONS
            if not moves and image.format not in _STACKS:
                return PictureIndex((image.tell(),), None, (upright_size(image, exif),), total)
            # The default image of a PNG can be a substitute for the animation.
            for number in range(int(bool(image.info.get("default_image"))), total):
                image.seek(number)
                if moves:
                    image.load()
                elif image.tag_v2.get(_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK:  # type: ignore[attr-defined]
                    continue
                numbers.append(number)
                durations.append(float(image.info.get("duration") or _DEFAULT_DURATION) / 1000)
                sizes.append(upright_size(image, exif))
    except UserError as error:
        if not numbers:
            return None  # the reader raises the error
        problem = f"{error}; {len(numbers)} of {total} pictures are used"
    if not numbers:
        return None
    if not moves:
        total = len(numbers)
    times = tuple(np.cumsum([0.0, *durations[:-1]]).tolist()) if moves else None
    return PictureIndex(tuple(numbers), times, tuple(sizes), total, problem)


def list_pictures(
    path: Path, fps: float, exif: bool = True, strict: bool = False
) -> list[int] | None:
    """Lists the pictures to use of a file that has several, by their numbers from 0.

    Animations are sampled at `fps` like a video; of multi-page images all pages are used, without
    thumbnails and masks.

    Returns:
      None if `read_image` reads the file: it has one picture, or one that others accompany.

    Raises:
      UserError: the file is damaged after its first picture, and `strict`.
    """
    index = index_pictures(path, exif)
    if index is None or (index.numbers == (0,) and index.problem is None):
        return None
    if index.problem is not None:
        if strict:
            raise UserError(index.problem)
        warnings.warn(index.problem, stacklevel=4)
    if index.times is None:
        return list(index.numbers)
    numbers = [index.numbers[i] for i in sampled_frames(np.array(index.times), fps)]
    if len(numbers) == 1 < len(index.numbers):
        warnings.warn(single_view(path, len(index.numbers), fps), stacklevel=4)
    return numbers


def picture_frames(
    path: Path, keep: Collection[int], exif: bool = True
) -> Generator[Frame, None, None]:
    """Decodes pictures of a file one after the other; it is open until the iterator ends.

    Args:
      path: file of several pictures.
      keep: their numbers, as from `list_pictures`.
      exif: apply the EXIF orientation.

    Yields:
      Frames named `<stem>_<count>`, with a count from 1 and the time of an animation.

    Raises:
      UserError: a picture cannot be decoded.
    """
    index = index_pictures(path, exif)
    times = dict(zip(index.numbers, index.times, strict=True)) if index and index.times else {}
    with opened_image(path) as image:
        for number in sorted(keep):
            image.seek(number)
            image.load()
            name = f"{path.stem}_{number + 1:06d}"
            yield Frame(to_rgb(image, exif), name, times.get(number))
