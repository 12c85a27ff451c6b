"""What readers return for one view, and the two kinds of source a mixture draws from.

A `Reader` knows files: sequences of posed frames, loaded one by one at their own size. A
`SceneSource`
knows scenes: several views of one size. `zipmap_jax.data.recorded` makes a source of any reader,
with the sampling and cropping that all recorded data sets share.
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
      frames: in the order they are to be shown.
      sequence: number of the scene in its source.
    """

    frames: tuple[PosedFrame, ...]
    sequence: int


class Reader(Protocol):
    """Sequences of posed frames.

    Readers are sent to worker processes: keep them small, open files only in `load`, and take
    random numbers from nowhere.

    Attributes:
      name: as in the table of data sets.
      sampler: which frames of a sequence go together, unless the configuration says otherwise.
      lengths: frames of every sequence.
    """

    @property
    def name(self) -> str: ...

    @property
    def sampler(self) -> FrameSampler: ...

    @property
    def lengths(self) -> Int[np.ndarray, " s"]: ...

    def load(self, sequence: int, position: int) -> PosedFrame:
        """One frame at its own size.

        Raises:
          Exception: of any kind if the frame cannot be read; it is counted, and others are drawn.
        """
        ...


class SceneSource(Protocol):
    """Random scenes.

    Attributes:
      name: as in the table of data sets.
    """

    @property
    def name(self) -> str: ...

    def scene(self, rng: np.random.Generator, views: int, size: tuple[int, int]) -> SceneViews:
        """A random scene as `views` frames of `size` (height, width); all randomness is `rng`'s.

        Raises:
          BrokenFrameError: if a frame cannot be used.
        """
        ...


class BrokenFrameError(ValueError):
    """A frame cannot be read, or is none; the message names it."""


def check_frame(frame: PosedFrame) -> None:
    """Refuse what would poison a batch.

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
