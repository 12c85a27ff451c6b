"""Weighted mixture of sources; a scene depends on (seed, step, microbatch, scene) alone.

The order of draws, the process and the host have no influence, so a run can be resumed or moved to
other machines without changing its training data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.data.frame import BrokenFrameError
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.data.frame import SceneSource, SceneViews


@dataclasses.dataclass(frozen=True)
class MixtureSample:
    """A scene with its source and the number of failed draws.

    Attributes:
      views: the scene.
      source: number of its source in the mixture.
      failures: draws before it that failed at a frame that cannot be used.
    """

    views: SceneViews
    source: int
    failures: int


class Mixture:
    """Draws scenes from sources by weight.

    A draw that fails at a broken frame is repeated from the same source, so broken files do not
    shift the mixture.

    Args:
      sources: sources with distinct names; `MixtureSample.source` is an index into them.
      weights: relative frequencies, one per source.
      seed: seed of everything random.
      retries: largest number of draws after a failed one.

    Raises:
      UserError: there is no source, a name occurs twice, or a weight is negative or not finite.
    """

    def __init__(
        self, sources: Sequence[SceneSource], weights: Sequence[float], seed: int, retries: int = 8
    ) -> None:
        self.names = tuple(source.name for source in sources)
        frequencies = np.asarray(weights, np.float64)
        usable = np.isfinite(frequencies).all() and (frequencies >= 0).all()
        if len(frequencies) != len(sources) or not usable:
            raise UserError(
                f"a mixture of {len(sources)} sources needs as many weights of at least 0, but has "
                f"{list(weights)}: give every source a finite weight"
            )
        if len(set(self.names)) != len(self.names):
            raise UserError(
                f"a mixture names every source once, but has {', '.join(self.names)}: "
                "add up the weights of the same source"
            )
        if not frequencies.sum() > 0:
            raise UserError(
                "a mixture needs a source of positive weight: raise a weight in data.mixture"
            )
        self._sources = tuple(sources)
        self._probabilities = frequencies / frequencies.sum()
        self._seed, self._retries = seed, retries

    def draw(
        self, step: int, microbatch: int, scene: int, views: int, size: tuple[int, int]
    ) -> MixtureSample:
        """Draw one scene.

        Args:
          step, microbatch, scene: place of the scene in the run, which determines the draw.
          views: number of frames.
          size: (height, width) of the frames in pixels.

        Raises:
          UserError: more than `retries` draws in a row failed at a broken frame.
        """
        # Attempt 0 is the choice of the source.
        choice = generator(self._seed, step, microbatch, scene, 0)
        number = int(choice.choice(len(self._sources), p=self._probabilities))
        error = None
        for attempt in range(self._retries + 1):
            rng = generator(self._seed, step, microbatch, scene, attempt + 1)
            try:
                return MixtureSample(self._sources[number].scene(rng, views, size), number, attempt)
            except BrokenFrameError as broken:
                error = broken
        raise UserError(
            f"source {self.names[number]!r}: {self._retries + 1} draws in a row met a frame that "
            f"cannot be used, the last one {error}; repair its files, raise data.retries or "
            "remove it from data.mixture"
        ) from error


def generator(seed: int, *place: int) -> np.random.Generator:
    """Return the generator of one place in the run, such as (step, microbatch, scene, attempt).

    The place is the spawn key of a seed sequence, not part of its entropy: entropy ignores trailing
    zeros, so step 5 would share its numbers with (step 5, microbatch 0).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))
