"""Frames of a video, decoded by PyAV."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from zipmap_jax.errors import MissingPackageError, UserError
from zipmap_jax.images.decode import Frame

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("264", "265", "3g2", "3gp", "asf", "avi", "dv", "f4v", "flv", "h264", "h265", "hevc"),
        *("ivf", "m2ts", "m2v", "m4v", "mjpeg", "mjpg", "mkv", "mov", "mp4", "mpeg", "mpg"),
        *("mts", "mxf", "ogv", "qt", "ts", "vob", "webm", "wmv", "y4m"),
    )
)
_ASSUMED_FPS = 30.0  # of a stream that does not state its rate


def is_video(path: Path) -> bool:
    """Whether a file is read as a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def frame_size(path: Path, exif: bool = True) -> tuple[int, int]:
    """Returns the (height, width) of the first frame.

    Raises:
      UserError: as `video_frames`.
    """
    with closing(video_frames(path, (0,), exif)) as frames:
        frame = next(frames)
    return frame.image.shape[0], frame.image.shape[1]


def video_frames(
    path: Path, keep: Collection[int] | None = None, exif: bool = True
) -> Generator[Frame, None, None]:
    """Decodes frames of a video one after the other.

    The file is open until the iterator ends or is closed. Damaged frames are left out.

    Args:
      path: video file.
      keep: numbers, from 0, of the frames to yield, as from `list_frames`; None = all.
      exif: apply the rotation and the reflection recorded by the camera.

    Yields:
      Frames in order of presentation, named `<stem>_<count>` with a count from 1, with their time
      from the video's first frame.

    Raises:
      UserError: the file is not a video or no frame can be decoded.
    """
    last, empty = max(keep, default=-1) if keep is not None else None, True
    with opened_video(path) as (container, stream):
        for number, (frame, seconds) in enumerate(decoded_frames(container, stream, lambda: None)):
            empty = False
            if keep is None or number in keep:
                yield Frame(_upright(frame, exif), f"{path.stem}_{number + 1:06d}", seconds)
            if number == last:
                break
    if empty:
        raise UserError(f"{path} has no frame that can be decoded: export it again as H.264 MP4")


@contextmanager
def opened_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and the stream of its film; errors of PyAV become a UserError."""
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
        try:
            stream = _film(path, container)
            stream.thread_type = "AUTO"
            yield container, stream
        except av.FFmpegError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): export it again as H.264 MP4"
            ) from error


def _film(path: Path, container: Any) -> Any:
    """The video stream that lasts; of several the largest, then the default, then the first.

    Cover pictures, thumbnail tracks and streams of less than half the longest one do not count.
    """
    av = _pyav()
    kinds = av.stream.Disposition
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None  # has a decoder
        and not stream.disposition & (kinds.attached_pic | kinds.timed_thumbnails)
    ]
    if not streams:
        raise UserError(
            f"{path} has no video stream that can be decoded: export it again as H.264 MP4"
        )
    if len(streams) == 1:
        return streams[0]
    ends: dict[int, float] = defaultdict(float)
    with av.open(str(path)) as probe, suppress(av.FFmpegError):
        for packet in probe.demux([probe.streams[stream.index] for stream in streams]):
            if packet.size and packet.pts is not None:
                end = float(packet.pts * packet.time_base)
                ends[packet.stream_index] = max(ends[packet.stream_index], end)
    longest = max(ends.values(), default=0.0)

    def rank(stream: Any) -> tuple[bool, int, bool, int]:
        default = bool(stream.disposition & kinds.default)
        area = (stream.width or 0) * (stream.height or 0)
        return ends[stream.index] >= 0.5 * longest, area, default, -stream.index

    return max(streams, key=rank)


def decoded_frames(
    container: Any, stream: Any, on_damage: Callable[[], None]
) -> Iterator[tuple[Any, float]]:
    """Decoded frames with seconds from the first one, in increasing order.

    `on_damage` is called where packets or frames are damaged; decoding goes on after them.
    """
    spacing, first, seconds, damaged = 1 / frame_rate(stream), None, 0.0, False

    def note() -> None:
        nonlocal damaged
        damaged = True
        on_damage()

    for frame in _frames(container, stream, note):
        time = frame.time
        if frame.is_corrupt:
            note()
            continue
        if first is None:
            first = time or 0.0
            yield frame, seconds
            continue
        since = None if time is None else float(time - first)
        if since is not None and damaged and since < seconds:
            continue  # decoders return frames out of order after damage
        # Raw streams have no times; those of joined recordings start again.
        seconds = since if since is not None and since > seconds else seconds + spacing
        yield frame, seconds


def _frames(container: Any, stream: Any, on_damage: Callable[[], None]) -> Iterator[Any]:
    """All frames that the decoder returns, also after errors."""
    av = _pyav()
    has_read = True
    while has_read:
        has_read = False
        try:
            for packet in container.demux(stream):
                has_read = True
                try:
                    frames = packet.decode()
                except av.EOFError:
                    continue
                except av.FFmpegError:
                    on_damage()
                    continue
                yield from frames
                del frames
            return
        except av.FFmpegError:  # of the container
            on_damage()
    with suppress(av.FFmpegError):
        yield from stream.codec_context.decode(None)


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(
            'reading videos needs the package PyAV, which is not installed: run "pip install av", '
            "or give a folder of frames"
        ) from error
    return av


def frame_rate(stream: Any) -> float:
    """The stated frames per second, else the assumed ones."""
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return float(rate) if rate else _ASSUMED_FPS


def _upright(frame: Any, exif: bool) -> np.ndarray:
    """The frame as RGB; the display matrix is rounded to quarter turns and reflections."""
    image = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX") if exif else None
    if matrix is None:
        return image
    # A pixel (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(int)
    if abs(a) + abs(d) < abs(b) + abs(c):
        image, a, d = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
