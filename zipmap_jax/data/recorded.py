"""Random scenes of recorded sequences: one source for all readers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.data.frame import BrokenFrameError, PosedFrame, SceneViews, check_frame
from zipmap_jax.data.sampling import VideoSampler
from zipmap_jax.data.transforms import clean_depth, fit_frame
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.data.frame import Reader
    from zipmap_jax.data.sampling import FrameSampler


class RecordedScenes:
    """`source.scene(rng, views, size)`: frames of a random sequence, cropped and resized.

    Args:
      reader: knows the files.
      min_views: sequences with fewer frames are never drawn.
      scales, zoom: crop augmentation, see `transforms.fit_frame`; the defaults crop the middle.
      video_prob, max_interval: in the place of the reader's own.

    Raises:
      UserError: no sequence is long enough, or the reader's sampler has no such settings.
    """

    def __init__(
        self,
        reader: Reader,
        min_views: int = 1,
        scales: tuple[float, float] | None = None,
        zoom: float = 0.0,
        video_prob: float | None = None,
        max_interval: int | None = None,
    ) -> None:
        self.name = reader.name
        self._reader, self._min_views = reader, min_views
        self._scales, self._zoom = scales, zoom
        self._sampler = _changed(reader.sampler, reader.name, video_prob, max_interval)
        # Drawing by weight is one look into the running total, however many sequences there are.
        self._total = np.cumsum(self._sampler.weights(reader.lengths, min_views))
        if len(self._total) == 0 or self._total[-1] == 0:
            raise UserError(
                f"source {reader.name!r} has no sequence of at least {min_views} frames: "
                "check data.root, or lower data.min_views"
            )

    def scene(self, rng: np.random.Generator, views: int, size: tuple[int, int]) -> SceneViews:
        """Draw a sequence, frames of it and a crop of every frame.

        Raises:
          BrokenFrameError: a frame cannot be read or used.
        """
        draw = rng.integers(self._total[-1])
        sequence = int(np.searchsorted(self._total, draw, side="right"))
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
        # Decoders meet broken files with errors of every kind.
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise BrokenFrameError(f"sequence {sequence}, frame {position}: {reason}") from error


def _changed(
    sampler: FrameSampler, name: str, video_prob: float | None, max_interval: int | None
) -> FrameSampler:
    """The sampler with the settings of the configuration."""
    settings = {"video_prob": video_prob, "max_interval": max_interval}
    given = {key: value for key, value in settings.items() if value is not None}
    if not given:
        return sampler
    if not isinstance(sampler, VideoSampler):
        raise UserError(
            f"source {name!r} does not draw frames by interval: "
            f"remove {' and '.join(given)} from its entry in data.mixture"
        )
    return dataclasses.replace(sampler, **given)
