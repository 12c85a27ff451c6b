"""Random scenes of recorded sequences: one source for all readers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.data.depth_filters import clean_depth
from zipmap_jax.data.frame import BrokenFrameError, PosedFrame, SceneViews, check_frame
from zipmap_jax.data.sampling import IntervalSampler
from zipmap_jax.data.transforms import fit_frame
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.data.config import CropConfig
    from zipmap_jax.data.frame import Reader
    from zipmap_jax.data.sampling import FrameSampler


class RecordedScenes:
    """Source of scenes from a reader: frames of a random sequence, cropped and resized.

    Args:
      reader: reads the files.
      min_views: frames of the shortest sequence that is drawn.
      crop: crop augmentation; None = centre crops.
      video_prob, max_interval: settings of the reader's sampler to replace; None = the sampler's.

    Raises:
      UserError: no sequence is long enough, or the reader's sampler has no such settings.
    """

    def __init__(
        self,
        reader: Reader,
        min_views: int = 1,
        crop: CropConfig | None = None,
        video_prob: float | None = None,
        max_interval: int | None = None,
    ) -> None:
        self.name = reader.name
        self._reader, self._min_views = reader, min_views
        self._scales, self._zoom = (crop.scales, crop.zoom) if crop else (None, 0.0)
        self._sampler = _with_settings(reader.sampler, reader.name, video_prob, max_interval)
        # A draw by weight is one search in the running sum, for any number of sequences.
        self._running_sum = np.cumsum(self._sampler.weights(reader.lengths, min_views))
        if len(self._running_sum) == 0 or self._running_sum[-1] == 0:
            raise UserError(
                f"source {reader.name!r} has no sequence of at least {min_views} frames: "
                "check data.root, or lower data.min_views"
            )

    def scene(self, rng: np.random.Generator, views: int, size: tuple[int, int]) -> SceneViews:
        """Draw a sequence, frames of it and a crop of every frame.

        Args:
          rng: source of randomness.
          views: number of frames.
          size: (height, width) of the frames in pixels.

        Raises:
          BrokenFrameError: a frame cannot be read or used.
        """
        draw = rng.integers(self._running_sum[-1])
        sequence = int(np.searchsorted(self._running_sum, draw, side="right"))
        length = int(self._reader.lengths[sequence])
        positions = self._sampler.positions(rng, sequence, length, views, self._min_views)
        frames = [self._frame(rng, sequence, int(position), size) for position in positions]
        return SceneViews(tuple(frames), sequence)

    def _frame(
        self, rng: np.random.Generator, sequence: int, position: int, size: tuple[int, int]
    ) -> PosedFrame:
        try:
            frame = self._reader.load(sequence, position)
            check_frame(frame)
            exact = dataclasses.replace(
                frame,
                depth=clean_depth(frame.depth),
                intrinsics=frame.intrinsics.astype(np.float64),
            )
            return fit_frame(exact, size, rng, self._scales, self._zoom)
        except MemoryError:
            raise
        # Decoders raise errors of every kind for broken files.
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise BrokenFrameError(f"sequence {sequence}, frame {position}: {reason}") from error


def _with_settings(
    sampler: FrameSampler, name: str, video_prob: float | None, max_interval: int | None
) -> FrameSampler:
    """Return the sampler with the settings of the configuration."""
    settings = {"video_prob": video_prob, "max_interval": max_interval}
    settings = {key: value for key, value in settings.items() if value is not None}
    if not settings:
        return sampler
    if not isinstance(sampler, IntervalSampler):
        raise UserError(
            f"source {name!r} does not draw frames by interval: "
            f"remove {' and '.join(settings)} from its entry in data.mixture"
        )
    return sampler.with_video(**settings)
