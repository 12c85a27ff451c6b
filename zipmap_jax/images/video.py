"""Frames of a video at a chosen rate, decoded by PyAV."""

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
_ASSUMED_FPS = 30.0  # of a stream that does not state its rate


def sampling_interval(video_fps: float, target_fps: float) -> int:
    """Returns the distance between sampled frames, `max(1, round(video_fps / target_fps))`.

    Source: ZipMap's demonstration, sampling of videos.
    """
    return max(1, round(video_fps / target_fps))


class TruncatedVideoError(UserError):
    """A video ends long before its stated duration."""


def count_frames(path: Path, fps: float, strict: bool = False) -> int:
    """Counts the frames that sampling at `fps` keeps, without decoding them.

    A damaged video may yield fewer. A video that ends long before its stated duration, as after an
    interrupted copy, causes a warning.

    Raises:
      TruncatedVideoError: instead of that warning, if `strict`.
      UserError: the file is not a video or has no video stream or no frame.
    """
    packets, end = 0, 0.0
    with _opened(path) as (container, stream):
        for packet in container.demux(stream):
            packets += bool(packet.size)
            if packet.pts is not None:
                end = max(end, float((packet.pts - (stream.start_time or 0)) * packet.time_base))
        if not packets:
            raise UserError(f"{path} has no video frames: record or export it again")
        # 0.7, since an audio track may be longer than the pictures.
        stated = (container.duration or 0) / 1e6
        if stated > 1 and end < 0.7 * stated:
            sentence = (
                f"{path} ends after {end:.1f} of {stated:.1f} seconds and is used up to there: "
                "copy it again"
            )
            if strict:
                raise TruncatedVideoError(sentence)
            warnings.warn(sentence, stacklevel=4)
        return max(1, packets // sampling_interval(_rate(stream), fps))


def frame_size(path: Path, exif: bool = True) -> tuple[int, int]:
    """Returns the (height, width) of the first frame.

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
    """Decodes the sampled frames of a video one after the other.

    Frames are counted from 1 and sampled at multiples of the interval; a video shorter than the
    interval yields its first frame. A damaged video yields the frames before the damage, with a
    warning. The file is open until the iterator ends or is closed.

    Args:
      path: video file.
      fps: sampled frames per second of video, > 0.
      exif: apply the rotation recorded by the camera.
      keep: indices, from 0, of the sampled frames to yield; None = all.
      strict: raise at the first damage.

    Yields:
      At least one frame, in order of presentation, named `<stem>_<count>`, with its time from the
      video's first frame.

    Raises:
      UserError: the file is not a video, no frame can be decoded, or it is damaged and `strict`.
    """
    first, start, empty = None, None, True
    with _opened(path) as (container, stream):
        interval = sampling_interval(_rate(stream), fps)
        last = math.inf if keep is None else (max(keep, default=-1) + 1) * interval
        for count, frame in enumerate(_decoded(path, container, stream, strict), start=1):
            seconds = frame.time if frame.time is not None else (count - 1) / _rate(stream)
            start = seconds if start is None else start
            sampled = count % interval == 0 and (keep is None or count // interval - 1 in keep)
            if sampled or count == 1:
                name = f"{path.stem}_{count:06d}"
                picture = Frame(_upright(frame, exif), name, float(seconds - start))
                first = None if sampled else picture
                if sampled:
                    empty = False
                    yield picture
                del picture  # otherwise it would be referenced until the next one
            if count >= last:
                break
    if empty:
        if first is None:
            raise UserError(
                f"{path} has no frame that can be decoded: export it again as H.264 MP4"
            )
        yield first


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream; errors of PyAV become a UserError."""
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
            raise UserError(f"{path} has no video stream: give a file with pictures")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        try:
            yield container, stream
        except av.FFmpegError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): export it again as H.264 MP4"
            ) from error


def _decoded(path: Path, container: Any, stream: Any, strict: bool) -> Iterator[Any]:
    """Decoded frames up to the first damage: an error if `strict` or before any frame."""
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
        sentence = f"{path} is damaged and is used up to there {problem}"
        if strict:
            raise UserError(sentence) from error
        warnings.warn(sentence, stacklevel=3)


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
    # FFmpeg's rotation is the counterclockwise angle in degrees that makes the picture upright.
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90) % 4))
