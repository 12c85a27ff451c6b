"""Weighted mixture of sources; a scene depends on (seed, step, microbatch, scene) alone.

Whoever asks for a scene gets the same one, in whatever order, process or host; so a run can be
resumed or spread over other machines without changing what it is trained on.
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
    """A scene and how it came about.

    Attributes:
      source: number of its source in the mixture.
      failures: draws before it that met a frame that cannot be read.
    """

    views: SceneViews
    source: int
    failures: int


class Mixture:
    """Draws scenes from sources by weight.

    A draw that meets a broken frame is made anew from the same source, so that broken files do not
    shift the mixture.

    Args:
      sources: with names of their own, in the order that `MixtureSample.source` counts.
      weights: relative frequencies, one per source.
      seed: of everything random.
      retries: draws that may follow a failed one.

    Raises:
      UserError: no sources, two of one name, or weights that are no frequencies.
    """

    def __init__(
        self, sources: Sequence[SceneSource], weights: Sequence[float], seed: int, retries: int = 8
    ) -> None:
        self.names = tuple(source.name for source in sources)
        odds = np.asarray(weights, np.float64)
        if len(odds) != len(sources) or not (np.isfinite(odds).all() and (odds >= 0).all()):
            raise UserError(
                f"a mixture of {len(sources)} sources needs as many weights of at least 0, "
                f"got {list(weights)}"
            )
        if len(set(self.names)) != len(self.names):
            raise UserError(
                f"a mixture names every source once, got {', '.join(self.names)}: "
                "add up the weights of the same source"
            )
        if not odds.sum() > 0:
            raise UserError("a mixture needs a source of positive weight: see data.mixture")
        self._sources, self._odds = tuple(sources), odds / odds.sum()
        self._seed, self._retries = seed, retries

    def draw(
        self, step: int, microbatch: int, scene: int, views: int, size: tuple[int, int]
    ) -> MixtureSample:
        """Scene `scene` of microbatch `microbatch` at step `step`, with `views` frames of (height,
        width).

        Raises:
          UserError: more than `retries` draws in a row met a broken frame; names the source.
        """
        # Attempt 0 is the choice of the source.
        choice = generator(self._seed, step, microbatch, scene, 0)
        number = int(choice.choice(len(self._sources), p=self._odds))
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
            "take it out of data.mixture"
        ) from error


def generator(seed: int, *place: int) -> np.random.Generator:
    """Random numbers of one place in the run, such as (step, microbatch, scene, attempt).

    The place is the spawn key of a seed sequence, not more words of its entropy: there trailing
    zeros do not count, and step 5 would share its numbers with (step 5, microbatch 0).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))
