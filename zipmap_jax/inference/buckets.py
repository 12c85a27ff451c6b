"""The few shapes that programs are compiled for, so that a new number of views rarely means one.

(Models that stream have one program for all numbers above a chunk, see `streamed`.)

Views are rounded up to a step of 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160 ...: far
apart where a view costs little next to compiling, and close where it does not (from 65 views on at
most a fifth of the work is padding). Views that fill up are black and masked, which is exact: they
add nothing to the gradient of the fast weights and no camera attends to them.

Sizes of images are not rounded, because white borders would change the answer.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, UInt8

_FIRST = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)


@dataclasses.dataclass(frozen=True, order=True)
class Bucket:
    """The shape of one compiled program.

    Attributes:
      views: of each scene, padding included.
      height, width: of the network images.
      scenes: worked on together.
      chunk: views that a device works on at a time, a divisor of its share; None = all of it.
      devices: that share the views of each scene equally.
    """

    views: int
    height: int
    width: int
    scenes: int = 1
    chunk: int | None = None
    devices: int = 1

    @property
    def chunks(self) -> int:
        """Of each device."""
        return self.views // self.devices // self.chunk_shape[2]

    @property
    def chunk_shape(self) -> tuple[int, int, int]:
        """Devices, scenes, and views of each that one device works on at a time."""
        return self.devices, self.scenes, self.chunk or self.views // self.devices

    @property
    def text(self) -> str:
        """For people."""
        scenes = f"{self.scenes} scenes of " if self.scenes > 1 else ""
        views = f"{self.views} view{'s' * (self.views != 1)} of {self.width}x{self.height}"
        devices = f", {self.views // self.devices} on each of {self.devices} devices"
        return (
            f"{scenes}{views}"
            + (devices if self.devices > 1 else "")
            + (f", {self.chunk} at a time" if self.chunk else "")
        )


def bucket_of(
    views: int,
    size: tuple[int, int],
    *,
    chunk: int | None = None,
    scenes: int = 1,
    devices: int = 1,
    rounded: bool = True,
    streams: bool = False,
) -> Bucket:
    """The bucket for scenes of up to `views` views of one size.

    Args:
      views: real ones, at least 1.
      size: (height, width) of the network images.
      chunk: most views to work on at a time; None = all.
      scenes: worked on together.
      devices: that share the views of each scene.
      rounded: to one of few numbers; else to whole chunks on every device only.
      streams: whether one program takes chunk after chunk, however many, see `streamed`.
    """
    share = -(-views // devices)
    count = padded_count(share, chunk, streams=streams) if rounded else share
    chunk = None if chunk is None or chunk >= count else chunk
    count = -(-count // chunk) * chunk if chunk else count
    return Bucket(count * devices, *size, scenes, chunk, devices)


def padded_count(views: int, chunk: int | None = None, *, streams: bool = False) -> int:
    """The smallest step that holds `views`, in whole chunks: never more than a chunk at a time.

    Where one program takes chunk after chunk, whole chunks are enough.
    """
    if streams and chunk is not None and views > chunk:
        return -(-views // chunk) * chunk
    count = next(step for step in steps() if step >= views)
    if chunk is None or chunk >= count:
        return count
    return chunk if chunk >= views else -(-count // chunk) * chunk


def steps() -> Iterator[int]:
    """The numbers of views that programs are made for, without end: four to the octave from 64."""
    yield from _FIRST
    for octave in itertools.count():
        yield from (2**octave * step for step in (80, 96, 112, 128))


def fill(
    scenes: Sequence[UInt8[np.ndarray, "v h w 3"]], bucket: Bucket
) -> tuple[UInt8[np.ndarray, "b n h w 3"], Bool[np.ndarray, "b n"]]:
    """Scenes in the shape of a bucket, and which views are real.

    Missing views are black. A missing scene repeats the first, as one without a single view would
    give NaN, which debugging modes of JAX stop at.
    """
    shape = (bucket.scenes, bucket.views, bucket.height, bucket.width, 3)
    images, valid = np.zeros(shape, np.uint8), np.zeros(shape[:2], bool)
    for i in range(bucket.scenes):
        scene = scenes[i] if i < len(scenes) else scenes[0]
        if scene.dtype != np.uint8:
            raise ValueError(f"network images are uint8, got {scene.dtype}")
        images[i, : len(scene)] = scene
        valid[i, : len(scene)] = True
    return images, valid
