"""A bounded queue that decodes frames in order, ahead of their use."""

from __future__ import annotations

import contextvars
import dataclasses
import os
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.files import printable
from zipmap_jax.images import animation, decode, video
from zipmap_jax.images.decode import Frame, UniqueNames
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.resize import reduced, reduced_shape
from zipmap_jax.images.sources import ImageSource
from zipmap_jax.structs import Progress

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from zipmap_jax.geometry.pixel_map import PixelMap

T = TypeVar("T")
AHEAD = 8
"""Number of frames that are decoded ahead of the reader."""


@dataclasses.dataclass(frozen=True)
class NetworkImage:
    """One RGB picture at network size, and the map from its pixels to those of the frame."""

    image: UInt8[np.ndarray, "h w 3"]
    pixel_map: PixelMap


class FrameReader(Generic[T]):
    """Iterator of `(frame, work(original))` in the order of the sources.

    `frame` is the original, or a copy reduced to `options.output_size`.

    Several threads decode images, one thread decodes videos and animations. At most `AHEAD` frames
    are decoded ahead, and the reader keeps no reference to a frame that it has returned. An
    unreadable image or video is left out with a warning, as are listed frames that a video does not
    yield; a bad array always raises. A `with` block ends the threads and closes the files.

    Args:
      sources: from `list_sources`.
      options: those of `list_sources`; `strict` raises the first error instead of warning.
      work: called with each original in a thread; its UserError marks the image as unreadable.
      progress: called as `progress("reading", done, total)`.

    Raises:
      UserError: no source can be read, or the first error if `strict`.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        options: ReadOptions,
        work: Callable[[Frame], T],
        progress: Progress | None = None,
    ) -> None:
        self._sources, self._options, self._work = iter(sources), options, work
        self._progress, self._total, self._done = progress, len(sources), 0
        self._pending: deque[tuple[ImageSource, Future[tuple[Frame, T] | None]]] = deque()
        self._photos = ThreadPoolExecutor(min(AHEAD, os.cpu_count() or 1))
        self._decoder = ThreadPoolExecutor(1)
        self._videos: dict[Path, Generator[Frame, None, None]] = {}
        self._listed = _listed_frames(sources)
        self._unread = {path: len(frames) for path, frames in self._listed.items()}
        self._ended: set[Path] = set()
        self._failures: list[str] = []
        self._names = UniqueNames()
        self._has_read = False
        if progress:
            progress("reading", 0, self._total)

    def __enter__(self) -> FrameReader[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> FrameReader[T]:
        return self

    def __next__(self) -> tuple[Frame, T]:
        while (step := self._next_source()) is not None:
            result = self._result(*step)
            if result is not None:
                frame, output = result
                name = self._names.unique(printable(frame.name))
                return dataclasses.replace(frame, name=name), output
        if not self._has_read and self._failures:
            more = len(self._failures) - 1
            raise UserError(self._failures[0] + (f" (and {more} more like it)" if more else ""))
        raise StopIteration

    def close(self) -> None:
        """Ends the threads, closes the files and drops the frames that were decoded ahead."""
        self._pending.clear()
        for pool in (self._photos, self._decoder):
            pool.shutdown(cancel_futures=True)
        self._videos.clear()  # a generator closes its file when it is deleted

    def _next_source(self) -> tuple[ImageSource, Future[tuple[Frame, T] | None]] | None:
        """The next source, after `AHEAD` later ones are submitted; None at the end."""
        while len(self._pending) <= AHEAD:
            source = next(self._sources, None)
            if source is None:
                break
            read, pool = self._read_photo, self._photos
            if source.frame is not None:
                read, pool = self._read_frame, self._decoder
            # A context variable names the scene in warnings.
            run = contextvars.copy_context().run
            self._pending.append((source, pool.submit(run, read, source)))
        return self._pending.popleft() if self._pending else None

    def _result(
        self, source: ImageSource, future: Future[tuple[Frame, T] | None]
    ) -> tuple[Frame, T] | None:
        try:
            result = future.result()
        except UserError as error:
            if self._options.strict or isinstance(source.item, Frame):
                raise
            self._leave_out(str(error))
            result = None
        if result is not None and not self._has_read:
            self._has_read = True
            for failure in self._failures:
                warnings.warn(f"left out: {failure}", stacklevel=3)
        self._done += 1
        if self._progress:
            self._progress("reading", self._done, self._total)
        return result

    def _leave_out(self, failure: str) -> None:
        """Warns, or postpones the warning until one source is readable: none is an error."""
        if self._has_read:
            warnings.warn(f"left out: {failure}", stacklevel=4)
        else:
            self._failures.append(failure)

    def _read_photo(self, source: ImageSource) -> tuple[Frame, T]:
        frame = source.item
        if not isinstance(frame, Frame):
            frame = decode.read_image(frame, self._options.exif)
        return self._worked_on(frame)

    def _read_frame(self, source: ImageSource) -> tuple[Frame, T] | None:
        """The next frame of a video or an animation; None after the error that it has ended."""
        path, exif = source.item, self._options.exif
        assert isinstance(path, Path)
        if path in self._ended:
            return None
        if path not in self._videos:
            read = video.video_frames if video.is_video(path) else animation.picture_frames
            self._videos[path] = read(path, self._listed[path], exif)
        self._ended.add(path)  # unless it yields a frame
        frame = next(self._videos[path], None)
        if frame is None:
            unread, listed = self._unread[path], len(self._listed[path])
            raise UserError(
                f"{path} yields {listed - unread} of the {listed} frames to use: copy it again"
            )
        self._ended.remove(path)
        self._unread[path] -= 1
        if not self._unread[path]:
            self._videos[path].close()  # the file and the threads of its decoder
        return self._worked_on(frame)

    def _worked_on(self, frame: Frame) -> tuple[Frame, T]:
        """A frame, reduced to the size of the output, and the work on the original."""
        output, size = self._work(frame), frame.image.shape[:2]
        small = reduced(frame.image, self._options.output_size)
        if small is frame.image:
            return frame, output
        return dataclasses.replace(frame, image=small, original_size=size), output


def _listed_frames(sources: Sequence[ImageSource]) -> dict[Path, set[int]]:
    """Numbers of the frames to read of each video and animation."""
    listed: dict[Path, set[int]] = defaultdict(set)
    for source in sources:
        if isinstance(source.item, Path) and source.frame is not None:
            listed[source.item].add(source.frame)
    return listed


def network_frames(
    sources: Sequence[ImageSource],
    options: ReadOptions,
    preparation: Any,
    network_size: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> FrameReader[NetworkImage]:
    """Reads frames, each with its network image.

    Args:
      sources, options, progress: see `FrameReader`; `options.size` must be set.
      preparation: the model's `zipmap_jax.models.api.Preparation`.
      network_size: (height, width) to which all network images are padded; None = not padded. An
        image is unreadable if it is larger because its header states a wrong size.
    """

    def work(frame: Frame) -> NetworkImage:
        try:
            image, pixel_map = preparation.fit(frame.image, options.size, options.mode)
            if network_size is not None:
                _check_size(frame, image.shape[:2], network_size)
                image, pixel_map = preparation.pad(image, pixel_map, network_size)
        except UserError as error:
            raise UserError(f"{frame.name}: {error}") from error
        size = reduced_shape(frame.image.shape[:2], options.output_size)
        return NetworkImage(image, pixel_map.reduced(size))

    return FrameReader(sources, options, work, progress)


def stacked(
    preparation: Any, networks: Sequence[NetworkImage]
) -> tuple[UInt8[np.ndarray, "v h w 3"], list[PixelMap]]:
    """Pads network images to their largest height and width.

    Args:
      preparation: the model's `zipmap_jax.models.api.Preparation`.
      networks: at least one image.

    Returns:
      The images and their pixel maps.
    """
    height = max(network.image.shape[0] for network in networks)
    width = max(network.image.shape[1] for network in networks)
    images, pixel_maps = np.empty((len(networks), height, width, 3), np.uint8), []
    for out, network in zip(images, networks, strict=True):
        out[...], pixel_map = preparation.pad(network.image, network.pixel_map, (height, width))
        pixel_maps.append(pixel_map)
    return images, pixel_maps


def _check_size(frame: Frame, shape: tuple[int, ...], network_size: tuple[int, int]) -> None:
    if shape[0] > network_size[0] or shape[1] > network_size[1]:
        height, width = frame.image.shape[:2]
        raise UserError(
            f"the image has {width}x{height} pixels, unlike its header, and its network image of "
            f"{shape[1]}x{shape[0]} pixels exceeds the {network_size[1]}x{network_size[0]} of the "
            "stream: save it again, or reconstruct it by itself"
        )
