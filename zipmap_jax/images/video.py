"""Frames of a video at a chosen rate, through PyAV (imported only when a video is read)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from zipmap_jax.errors import MissingPackageError, UserError
from zipmap_jax.images.decode import Frame

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov"),
        *("mp4", "mpeg", "mpg", "mts", "ogv", "webm", "wmv"),
    )
)
_ASSUMED_FPS = 30.0  # for the rare stream that does not state its rate


def sampling_interval(video_fps: float, target_fps: float) -> int:
    """Every how many frames one is kept: `max(1, round(video_fps / target_fps))`.

    Source: ZipMap's demonstration, sampling of videos.
    """
    return max(1, round(video_fps / target_fps))


class BrokenOff(UserError):
    """A video is much shorter than it says."""


def count_frames(path: Path, fps: float, strict: bool = False) -> int:
    """Number of frames that sampling at `fps` keeps, from the container alone (nothing is decoded).

    A damaged video may yield fewer when it is decoded. One that ends long before the length that it
    states, as an interrupted copy does, is warned about.

    Raises:
      BrokenOff: instead of that warning, if `strict`.
      UserError: not a video, no video stream, or no frame in it.
    """
    packets, end = 0, 0.0
    with _opened(path) as (container, stream):
        for packet in container.demux(stream):
            packets += bool(packet.size)
            if packet.pts is not None:
                end = max(end, float((packet.pts - (stream.start_time or 0)) * packet.time_base))
        if not packets:
            raise UserError(f"{path} has no video frames: record or export it again")
        # An audio track may go on for longer than the pictures.
        stated = (container.duration or 0) / 1e6
        if stated > 1 and end < 0.7 * stated:
            sentence = (
                f"{path} breaks off after {end:.1f} of {stated:.1f} seconds and only that part can "
                "be used: copy it again"
            )
            if strict:
                raise BrokenOff(sentence)
            warnings.warn(sentence, stacklevel=4)
        return max(1, packets // sampling_interval(_rate(stream), fps))


def frame_size(path: Path, exif: bool = True) -> tuple[int, int]:
    """(height, width) of the frames, from the first one.

    Raises:
      UserError: as `video_frames`.
    """
    with closing(video_frames(path, math.inf, exif, keep=(0,))) as frames:
        frame = next(frames)
    return frame.image.shape[0], frame.image.shape[1]


def video_frames(
    path: Path,
    fps: float,
    exif: bool = True,
    keep: Collection[int] | None = None,
    strict: bool = False,
) -> Generator[Frame, None, None]:
    """Decode the sampled frames of a video, one after the other.

    Frames are counted from 1 and kept when the count is a multiple of the sampling interval; a
    video too short for that gives its first frame. A damaged video gives what came before, with a
    warning. The file is open until the iterator ends or is closed.

    Args:
      path: video file.
      fps: frames to keep per second of video, > 0.
      exif: apply the rotation recorded by the camera.
      keep: which of the sampled frames to return, as indices from 0; None = all.
      strict: fail at the first damage.

    Yields:
      At least one frame, in order of presentation, named `<stem>_<count>`, timed from the video's
      first frame.

    Raises:
      UserError: not a video, no video stream, no frame that can be decoded, or damage if `strict`.
    """
    first, start, kept = None, None, False
    with _opened(path) as (container, stream):
        interval = sampling_interval(_rate(stream), fps)
        last = math.inf if keep is None else (max(keep, default=-1) + 1) * interval
        for count, frame in enumerate(_decoded(path, container, stream, strict), start=1):
            seconds = frame.time if frame.time is not None else (count - 1) / _rate(stream)
            start = seconds if start is None else start
            wanted = count % interval == 0 and (keep is None or count // interval - 1 in keep)
            if wanted or count == 1:
                name = f"{path.stem}_{count:06d}"
                picture = Frame(_upright(frame, exif), name, float(seconds - start))
                first = None if wanted else picture
                if wanted:
                    kept = True
                    yield picture
                del picture  # the reader of the frame decides how long it stays
            if count >= last:
                break
    if not kept:
        if first is None:
            raise UserError(
                f"{path} has no frame that can be decoded: export it again as H.264 MP4"
            )
        yield first


def read_video(
    path: Path,
    fps: float,
    exif: bool = True,
    keep: Collection[int] | None = None,
    strict: bool = False,
) -> list[Frame]:
    """All frames of `video_frames` at once, for short videos."""
    return list(video_frames(path, fps, exif, keep, strict))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream; what PyAV raises becomes one sentence."""
    av = _pyav()
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path} is not a video that can be read ({reason}): export it again as H.264 MP4"
        ) from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path} has no video stream: give a video with pictures")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        try:
            yield container, stream
        except av.FFmpegError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): export it again as H.264 MP4"
            ) from error


def _decoded(path: Path, container: Any, stream: Any, strict: bool) -> Iterator[Any]:
    """Decoded frames up to the first damage: a warning, or an error if `strict` or none came."""
    av = _pyav()
    empty = True
    try:
        for frame in container.decode(stream):
            empty = False
            yield frame
    except av.FFmpegError as error:
        problem = f"({error.strerror}): export it again as H.264 MP4"
        if empty:
            raise UserError(f"{path} cannot be decoded {problem}") from error
        damage = f"{path} is damaged, only its first part can be used {problem}"
        if strict:
            raise UserError(damage) from error
        warnings.warn(damage, stacklevel=3)


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(
            'reading videos needs the package PyAV, which is not installed: run "pip install av", '
            "or give a folder of frames"
        ) from error
    return av


def _rate(stream: Any) -> float:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return float(rate) if rate else _ASSUMED_FPS


def _upright(frame: Any, exif: bool) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    if not exif:
        return image
    # FFmpeg states by how many degrees the picture must turn counterclockwise to stand upright.
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90) % 4))
