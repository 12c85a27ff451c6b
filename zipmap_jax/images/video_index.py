"""The list of the frames that decoding a video yields."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.images.sampling import sampled_frames
from zipmap_jax.images.video import decoded_frames, frame_rate, opened_video

if TYPE_CHECKING:
    from jaxtyping import Float64

_STATED_DURATION = ("mov", "matroska", "avi", "flv", "asf")  # others are estimated from bit rates
_REORDERED = 16  # most frames that a decoder holds back
_GAPLESS = ("mpegts", "mpeg")  # a gap of several frames means lost packets


@dataclasses.dataclass(frozen=True)
class VideoIndex:
    """The frames that decoding a video yields.

    Attributes:
      times: seconds from the first frame, increasing.
      rate: stated or assumed frames per second.
      problems: one sentence for each kind of damage.
    """

    times: Float64[np.ndarray, " n"]
    rate: float
    problems: tuple[str, ...]


class DamagedVideoError(UserError):
    """A part of a video cannot be decoded."""


def list_frames(path: Path, fps: float, strict: bool = False) -> list[int]:
    """Lists the frames that sampling at `fps` keeps, by their numbers from 0.

    The video is decoded once, since packets do not determine the frames: edit lists, invisible and
    damaged frames differ. A damaged part causes a warning, once for all parts.

    Raises:
      DamagedVideoError: instead of that warning, if `strict`.
      UserError: the file is not a video or no frame can be decoded.
    """
    index = index_video(path)
    for sentence in index.problems:
        if strict:
            raise DamagedVideoError(sentence)
        warnings.warn(sentence, stacklevel=4)
    numbers = sampled_frames(index.times, fps, index.rate).tolist()
    if len(numbers) == 1 < len(index.times):
        warnings.warn(single_view(path, len(index.times), fps), stacklevel=4)
    return numbers


def single_view(path: Path, count: int, fps: float) -> str:
    """The warning about a video or an animation of which one view is used."""
    return f"{path} gives 1 view of its {count} frames at fps {fps:g}: raise fps to use more"


def index_video(path: Path) -> VideoIndex:
    """Decodes a video once to list its frames; the last results are kept.

    Raises:
      UserError: the file is not a video or no frame can be decoded.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path")
    status = path.stat()
    return _index(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _index(path: Path, modified: int, size: int) -> VideoIndex:
    times: list[float] = []
    damage: set[int] = set()
    with opened_video(path) as (container, stream):
        # Deblocking changes pixels, not the list of frames.
        stream.codec_context.options = {"skip_loop_filter": "all"}
        rate, form = frame_rate(stream), container.format.name.split(",")[0]
        stated = (container.duration or 0) / 1e6 if form in _STATED_DURATION else 0.0
        for _, seconds in decoded_frames(container, stream, lambda: damage.add(len(times))):
            times.append(seconds)
    if not times:
        raise UserError(f"{path} has no frame that can be decoded: export it again as H.264 MP4")
    seconds = np.array(times)
    if form in _GAPLESS:
        damage.discard(0)  # recordings of a broadcast start between two key frames
        damage.update((np.flatnonzero(np.diff(seconds) > 3.5 / rate) + 1).tolist())
    return VideoIndex(seconds, rate, tuple(_problems(path, seconds, stated, damage)))


def _problems(
    path: Path, times: Float64[np.ndarray, " n"], stated: float, damage: set[int]
) -> Iterator[str]:
    """Sentences about missing frames; `damage` numbers the frames that follow missing ones."""
    # 0.7, since an audio track may be longer than the pictures.
    truncated = stated > 1 and times[-1] < 0.7 * stated
    ends = sorted({_widest_gap(times, i) for i in damage} - {len(times) if truncated else -1})
    spans = [
        "before the first one"
        if i == 0
        else f"{times[i - 1]:.2f} to {times[i]:.2f} s"
        if i < len(times)
        else f"after {times[-1]:.2f} s"
        for i in ends
    ]
    if spans:
        more = f" and {len(spans) - 3} more spans" if len(spans) > 3 else ""
        yield (
            f"{path} is damaged and frames are missing ({', '.join(spans[:3])}{more}): "
            "copy it again, or export it again as H.264 MP4"
        )
    if truncated:
        yield (
            f"{path} ends after {times[-1]:.1f} of {stated:.1f} seconds and is used up to there: "
            "copy it again"
        )


def _widest_gap(times: Float64[np.ndarray, " n"], i: int) -> int:
    """The frame after the widest gap near i, as decoders report damage early or late."""
    if not 0 < i < len(times):
        return i
    first = max(i - _REORDERED, 1)
    gaps = np.diff(times[first - 1 : i + _REORDERED])
    return first + int(gaps.argmax()) if gaps.max() > 1.5 * np.median(np.diff(times)) else i
