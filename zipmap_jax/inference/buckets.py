"""Buckets: the few shapes for which programs are compiled.

The number of views is rounded up to 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160 and
so on, so that a new number rarely needs a new program; from 65 views on at most a fifth of the work
is padding. A streaming model has one program for all numbers above a chunk. Padding views are black
and masked, which is exact: they add nothing to the gradient of the fast weights and no camera
attends to them. Image sizes are not rounded, since white borders would change the result.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Bool, UInt8

_FIRST = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)


@dataclasses.dataclass(frozen=True, order=True)
class Bucket:
    """The shape of one compiled program.

    Attributes:
      views: number of views per scene, including padding.
      height, width: size of the network images.
      scenes: number of scenes per call.
      chunk: views per device at a time, a divisor of its share; None = its whole share.
      devices: number of devices, which share the views of each scene equally.
    """

    views: int
    height: int
    width: int
    scenes: int = 1
    chunk: int | None = None
    devices: int = 1

    @property
    def chunks(self) -> int:
        """Number of chunks of a device."""
        return self.views // self.devices // self.chunk_shape[2]

    @property
    def chunk_shape(self) -> tuple[int, int, int]:
        """Devices, scenes, and views per device and scene at a time."""
        return self.devices, self.scenes, self.chunk or self.views // self.devices

    @property
    def text(self) -> str:
        """The shape in words."""
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
    """Returns the bucket for scenes of up to `views` views of one size.

    Args:
      views: number of real views, at least 1.
      size: (height, width) of the network images.
      chunk: maximum views per device at a time; None = all.
      scenes: number of scenes per call.
      devices: number of devices, which share the views of each scene.
      rounded: round the views up to a step, instead of whole chunks on every device.
      streams: whether one program is called for chunk after chunk.
    """
    share = -(-views // devices)
    count = padded_count(share, chunk, streams=streams) if rounded else share
    chunk = None if chunk is None or chunk >= count else chunk
    count = -(-count // chunk) * chunk if chunk else count
    return Bucket(count * devices, *size, scenes, chunk, devices)


def padded_count(views: int, chunk: int | None = None, *, streams: bool = False) -> int:
    """Rounds views up to a step of whole chunks, or only to whole chunks if the model streams."""
    if streams and chunk is not None and views > chunk:
        return -(-views // chunk) * chunk
    count = next(step for step in steps() if step >= views)
    if chunk is None or chunk >= count:
        return count
    return chunk if chunk >= views else -(-count // chunk) * chunk


def steps() -> Iterator[int]:
    """Yields the numbers of views of buckets without end, four per octave from 64 on."""
    yield from _FIRST
    for octave in itertools.count():
        yield from (2**octave * step for step in (80, 96, 112, 128))


def fill(
    scenes: Sequence[UInt8[np.ndarray, "v h w 3"]], bucket: Bucket
) -> tuple[UInt8[np.ndarray, "b n h w 3"], Bool[np.ndarray, "b n"]]:
    """Pads scenes to the shape of a bucket.

    Padding views are black. A padding scene repeats the first one, since a scene without views
    would give NaN.

    Args:
      scenes: uint8 network images of each scene.
      bucket: the shape.

    Returns:
      Images, and a mask that is True for the real views.

    Raises:
      UserError: the images are not uint8.
    """
    shape = (bucket.scenes, bucket.views, bucket.height, bucket.width, 3)
    images, valid = np.zeros(shape, np.uint8), np.zeros(shape[:2], bool)
    for i in range(bucket.scenes):
        scene = scenes[i] if i < len(scenes) else scenes[0]
        if scene.dtype != np.uint8:
            raise UserError(
                f"network images must be uint8, got {scene.dtype}: round them to 0 to 255 and "
                "convert them with astype"
            )
        images[i, : len(scene)] = scene
        valid[i, : len(scene)] = True
    return images, valid
