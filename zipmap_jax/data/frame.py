"""Posed frames, and the protocols of their readers and of sources of scenes.

A `Reader` reads files: sequences of posed frames, one by one, at their original size. A
`SceneSource` draws scenes: several views of one size. `zipmap_jax.data.recorded` makes a source of
any reader, with the sampling and cropping that all recorded data sets share.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8

    from zipmap_jax.data.sampling import FrameSampler


@dataclasses.dataclass(frozen=True)
class PosedFrame:
    """One view with its camera and depth.

    Attributes:
      image: RGB.
      depth: z-depth (not along the ray) in the unit of `w2c`, 0 = invalid.
      intrinsics: pinhole matrix in pixels of `image`, integer pixel centres, no skew.
      w2c: world to camera, OpenCV axes.
      id: number of the frame in its sequence.
    """

    image: UInt8[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]
    intrinsics: Float[np.ndarray, "3 3"]
    w2c: Float[np.ndarray, "4 4"]
    id: int


@dataclasses.dataclass(frozen=True)
class SceneViews:
    """Views of one scene, all of one size.

    Attributes:
      frames: frames in the order of the views.
      sequence: number of the scene in its source.
    """

    frames: tuple[PosedFrame, ...]
    sequence: int


class Reader(Protocol):
    """Sequences of posed frames.

    Readers are pickled for worker processes: they should be small, open files only in `load`, and
    use no random numbers.

    Attributes:
      name: name in the table of data sets.
      sampler: frames of a scene; the configuration may replace some of its settings.
      lengths: number of frames of every sequence.
    """

    @property
    def name(self) -> str: ...

    @property
    def sampler(self) -> FrameSampler: ...

    @property
    def lengths(self) -> Int[np.ndarray, " s"]: ...

    def load(self, sequence: int, position: int) -> PosedFrame:
        """Read one frame at its original size.

        Raises:
          Exception: of any kind, the frame cannot be read; the caller counts it and draws others.
        """
        ...


class SceneSource(Protocol):
    """Random scenes.

    Attributes:
      name: name in the table of data sets.
    """

    @property
    def name(self) -> str: ...

    def scene(self, rng: np.random.Generator, views: int, size: tuple[int, int]) -> SceneViews:
        """Draw a scene of `views` frames of `size` (height, width); randomness is from `rng` alone.

        Raises:
          BrokenFrameError: a frame cannot be used.
        """
        ...


class BrokenFrameError(ValueError):
    """A frame cannot be read or is malformed; the message names the frame."""


def check_frame(frame: PosedFrame) -> None:
    """Check the shapes, the type and the camera of a frame.

    Raises:
      BrokenFrameError: image and depth differ in size, or the camera is not a finite pinhole.
    """
    if frame.image.ndim != 3 or frame.image.shape[2] != 3 or frame.image.dtype != np.uint8:
        raise BrokenFrameError(f"its image is {frame.image.dtype} {frame.image.shape}, not RGB")
    if frame.depth.shape != frame.image.shape[:2]:
        raise BrokenFrameError(
            f"its depth has shape {frame.depth.shape}, its image {frame.image.shape[:2]}"
        )
    if frame.intrinsics.shape != (3, 3) or frame.w2c.shape != (4, 4):
        raise BrokenFrameError(
            f"its camera has shapes {frame.intrinsics.shape} and {frame.w2c.shape}, "
            "not (3, 3) and (4, 4)"
        )
    if not (np.isfinite(frame.intrinsics).all() and np.isfinite(frame.w2c).all()):
        raise BrokenFrameError("its camera is not finite")
    if min(frame.intrinsics[0, 0], frame.intrinsics[1, 1]) <= 0:
        raise BrokenFrameError("its focal length is not positive")
