"""Samplers of frames: which frames of a sequence form a scene, as functions of a generator.

Positions count from 0 in the order of the sequence. Frames repeat where a sequence is too short.

Source: training recipe, sections 2.3 and 2.4.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, Protocol, Self, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int

    Positions = Int[np.ndarray, " v"]


class FrameSampler(Protocol):
    """Weights of the sequences of a data set, and random frames of one sequence."""

    def weights(self, lengths: Int[np.ndarray, " s"], min_views: int) -> Int[np.ndarray, " s"]:
        """Relative frequencies of the sequences, 0 for those with fewer than `min_views` frames."""
        ...

    def positions(
        self, rng: np.random.Generator, sequence: int, length: int, views: int, min_views: int
    ) -> Positions:
        """Positions of `views` frames of the sequence, which has `length` frames."""
        ...


@runtime_checkable
class IntervalSampler(Protocol):
    """A sampler that draws frames at intervals, at least in some of its draws."""

    def with_video(self, **settings: float) -> Self:
        """Return the sampler with other settings of its `VideoSampler`, by field."""
        ...


@dataclasses.dataclass(frozen=True)
class VideoSampler:
    """Frames at random intervals from a random start, in order or shuffled in blocks.

    Attributes:
      max_interval: largest step between neighbours before shuffling.
      video_prob: share of the draws that stay in order.
      fix_interval_prob: share of those that have one interval throughout.
      block: frames are shuffled inside consecutive blocks of this many; None = all together.
      reverse_prob: share of the draws that run backwards.
      start: "scene": sequences have equal weights; "frame": all admissible first frames have equal
        weights, so long sequences are more frequent; "length": weights are numbers of frames.
    """

    max_interval: int = 25
    video_prob: float = 0.5
    fix_interval_prob: float = 0.5
    block: int | None = 24
    reverse_prob: float = 0.0
    start: Literal["scene", "frame", "length"] = "scene"

    def with_video(self, **settings: float) -> VideoSampler:
        """Return the sampler with other settings, by field."""
        return dataclasses.replace(self, **settings)  # pyright: ignore[reportArgumentType]

    def weights(self, lengths: Int[np.ndarray, " s"], min_views: int) -> Int[np.ndarray, " s"]:
        weights = {
            "scene": np.ones_like(lengths),
            "frame": lengths - min_views + 1,
            "length": lengths,
        }
        return np.where(lengths >= max(min_views, 1), weights[self.start], 0)

    def positions(
        self, rng: np.random.Generator, sequence: int, length: int, views: int, min_views: int
    ) -> Positions:
        del sequence
        shortest = min_views if self.start == "frame" else views
        first = int(rng.integers(max(length - shortest, 0) + 1))
        chosen = self.walk(rng, views, first, length)
        backwards = self.reverse_prob > 0 and rng.random() < self.reverse_prob
        return chosen[::-1].copy() if backwards else chosen

    def walk(self, rng: np.random.Generator, views: int, start: int, length: int) -> Positions:
        """Draw frames at random intervals from `start` on.

        With r = length - 1 - start frames left: r = views - 1 returns them all in order; more are
        spread by random gaps; fewer are repeated, see `_revisit`.

        Args:
          rng: source of randomness.
          views: number of frames to draw.
          start: position of the first frame, in [0, length).
          length: frames of the sequence.

        Returns:
          Positions [views].

        Source: training recipe, section 2.3.
        """
        left = length - 1 - start
        if views == 1:
            return np.array([start])
        if left == views - 1:
            return np.arange(start, length)
        if left < views - 1:
            return self._revisit(rng, views, start, length)
        max_gap = min(self.max_interval, 2 * left // (views - 1))
        gaps = rng.integers(1, max_gap + 1, views - 1)
        video = rng.random() < self.video_prob
        if video and rng.random() < self.fix_interval_prob:
            gaps[:] = rng.integers(1, min(left // (views - 1), max_gap) + 1)
        chosen = start + np.concatenate([[0], np.cumsum(gaps)])
        chosen = chosen[chosen < length]
        if len(chosen) < views:
            unused = np.setdiff1d(np.arange(start, length), chosen)
            more = rng.choice(unused, views - len(chosen), replace=False)
            chosen = np.concatenate([chosen, more])
        return np.sort(chosen) if video else shuffle_blocks(rng, chosen, self.block)

    def _revisit(self, rng: np.random.Generator, views: int, start: int, length: int) -> Positions:
        """Repeat the frames of a walk that has fewer frames than views.

        Half of the draws (all if `video_prob` is 1) repeat the walk cyclically, the others draw
        from it.

        The reference walks over one frame fewer than there are, and divides by zero where one or
        none is left; here all `length - start` count, and a start at the very end moves back by
        one.
        """
        unique = min(max(2, length - start), length)
        if unique == 1:
            return np.full(views, start)
        first = int(rng.integers(min(start, length - unique) + 1))
        max_gap = min(self.max_interval, (length - 1 - first) // (unique - 1))
        gaps = rng.integers(1, max_gap + 1, unique - 1)
        kind, order = rng.random(2)
        ordered = order < self.video_prob
        if ordered and rng.random() < self.fix_interval_prob:
            gaps[:] = rng.integers(1, max_gap + 1)
        chosen = first + np.concatenate([[0], np.cumsum(gaps)])
        if kind < 0.5 or self.video_prob == 1:
            lap = chosen if ordered else shuffle_blocks(rng, chosen, self.block)
            return np.resize(lap, views)
        drawn = rng.choice(chosen, views, replace=True)
        return drawn if kind < 0.9 else np.sort(drawn)


@dataclasses.dataclass(frozen=True)
class PoolSampler:
    """Any frames of a sequence, in any order.

    Attributes:
      replace: a frame may be drawn twice.
    """

    replace: bool = True

    def weights(self, lengths: Int[np.ndarray, " s"], min_views: int) -> Int[np.ndarray, " s"]:
        return equal_weights(lengths, min_views)

    def positions(
        self, rng: np.random.Generator, sequence: int, length: int, views: int, min_views: int
    ) -> Positions:
        del sequence, min_views
        return rng.choice(length, views, replace=self.replace or views > length)


@dataclasses.dataclass(frozen=True)
class WindowSampler:
    """A random frame first, then any frames near it.

    Attributes:
      ratio: the window reaches `views * ratio` frames to either side.
    """

    ratio: float = 2.0

    def weights(self, lengths: Int[np.ndarray, " s"], min_views: int) -> Int[np.ndarray, " s"]:
        return equal_weights(lengths, min_views)

    def positions(
        self, rng: np.random.Generator, sequence: int, length: int, views: int, min_views: int
    ) -> Positions:
        del sequence, min_views
        return window(rng, views, int(rng.integers(length)), length, self.ratio)


def equal_weights(lengths: Int[np.ndarray, " s"], min_views: int) -> Int[np.ndarray, " s"]:
    """Return 1 for sequences of at least `min_views` frames, 0 for the others."""
    return (lengths >= max(min_views, 1)).astype(lengths.dtype)


def window(
    rng: np.random.Generator, views: int, anchor: int, length: int, ratio: float = 2.0
) -> Positions:
    """Draw frames of `[anchor - r, anchor + r)`, r = views * ratio, with repeats, after `anchor`.

    Source: training recipe, section 2.4.
    """
    reach = max(int(views * ratio), 1)
    low, high = max(0, anchor - reach), min(length, anchor + reach)
    return np.concatenate([[anchor], rng.integers(low, high, views - 1)])


def shuffle_blocks(
    rng: np.random.Generator, positions: Positions, block: int | None = None
) -> Positions:
    """Permute inside consecutive blocks; None = permute everything."""
    size = len(positions) if block is None else block
    parts = [positions[i : i + size] for i in range(0, len(positions), size)]
    return np.concatenate([rng.permutation(part) for part in parts])
