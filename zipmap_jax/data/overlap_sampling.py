"""Samplers of frames that follow the overlaps of a data set's images.

A row of the table of data sets holds such a sampler without a graph; the reader of the data set
adds the graph with `dataclasses.replace(sampler, graph=...)`.

Source: training recipe, section 2.4; readers of ZipMap's training data.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.data.sampling import VideoSampler

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from zipmap_jax.data.sampling import Positions

WALK_STEPS = 100
"""Steps of a walk along overlaps before it ends."""
WALK_STARTS = 20
"""First frames that a walk tries before it accepts too few distinct frames."""
REFERENCES = 100
"""Reference frames that are tried until one has enough partners."""


@dataclasses.dataclass(frozen=True)
class OverlapGraph:
    """Frames that show the same surfaces, in compressed rows: row `first[s] + i` is frame i of s.

    Attributes:
      first: row of the first frame of every sequence.
      offsets: entries of row r are `offsets[r]` to `offsets[r + 1]`.
      neighbours: positions in the same sequence, the frame itself excluded.
      overlaps: share of the view in common, in (0, 1].
      streams: number of the video that a frame belongs to, where a sequence has several.
    """

    first: Int[np.ndarray, " s"]
    offsets: Int[np.ndarray, " f1"]
    neighbours: Int[np.ndarray, " n"]
    overlaps: Float[np.ndarray, " n"]
    streams: Int[np.ndarray, " f"] | None = None

    def neighbours_of(
        self, sequence: int, position: int
    ) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Neighbours of a frame, and their overlaps with it."""
        row = self.first[sequence] + position
        entries = slice(self.offsets[row], self.offsets[row + 1])
        return self.neighbours[entries], self.overlaps[entries]

    def references(self, sequence: int, length: int, members: int) -> Positions:
        """Frames whose group, the frame and its neighbours, has at least `members` frames."""
        row = self.first[sequence]
        return np.flatnonzero(np.diff(self.offsets[row : row + length + 1]) + 1 >= members)

    def reference_counts(
        self, lengths: Int[np.ndarray, " s"], members: int
    ) -> Int[np.ndarray, " s"]:
        """Number of such frames in every sequence."""
        large = np.diff(self.offsets) + 1 >= members
        sequence = np.repeat(np.arange(len(lengths)), lengths)
        return np.bincount(sequence, large, len(lengths)).astype(lengths.dtype)

    def stream_of(
        self, sequence: int, length: int, position: int, other: bool = False
    ) -> Positions:
        """Frames of the stream of a frame, or of the other streams of its sequence."""
        if self.streams is None:
            raise ValueError("the overlap graph of this sampler needs streams")
        streams = self.streams[self.first[sequence] :][:length]
        return np.flatnonzero((streams == streams[position]) != other)


@dataclasses.dataclass(frozen=True)
class OverlapMixSampler:
    """A walk through the video of a reference frame, or members of the reference's group.

    References are uniform over all frames whose group is large enough.

    Attributes:
      video: rules of the walks.
      video_share: share of the draws that are walks.
      min_members: frames of the smallest group; `min_views` if that is more.
      by_overlap: draw members with probabilities proportional to their overlap (the reference's
        is 1) and with repeats. Otherwise a large group is shuffled, and a small one is drawn from
        with repeats (80 %) or repeated cyclically (20 %).
      own_stream: walk through the reference's stream instead of the whole sequence.
      start_divisor: a walk starts where at least `views // start_divisor` frames are left.
      graph: overlaps of the data set.
    """

    video: VideoSampler
    video_share: float
    min_members: int = 3
    by_overlap: bool = False
    own_stream: bool = False
    start_divisor: int = 1
    graph: OverlapGraph | None = None

    def with_video(self, **settings: float) -> OverlapMixSampler:
        """Return the sampler with other settings of its walks, by field of `VideoSampler`."""
        return dataclasses.replace(self, video=self.video.with_video(**settings))

    def weights(self, lengths: Int[np.ndarray, " s"], min_views: int) -> Int[np.ndarray, " s"]:
        members = max(self.min_members, min_views)
        counts = _required(self.graph).reference_counts(lengths, members)
        return np.where(lengths >= max(min_views, 1), counts, 0)

    def positions(
        self, rng: np.random.Generator, sequence: int, length: int, views: int, min_views: int
    ) -> Positions:
        graph = _required(self.graph)
        members = max(self.min_members, min_views)
        reference = int(rng.choice(graph.references(sequence, length, members)))
        if rng.random() < self.video_share:
            frames = np.arange(length)
            if self.own_stream:
                frames = graph.stream_of(sequence, length, reference)
            shortest = views if self.start_divisor == 1 else max(views // self.start_divisor, 3)
            return _walk(rng, self.video, frames, views, shortest)
        neighbours, overlaps = graph.neighbours_of(sequence, reference)
        group = np.concatenate([[reference], neighbours])
        if self.by_overlap:
            return rng.choice(group, views, p=_shares(np.concatenate([[1.0], overlaps])))
        if len(group) > views:
            return rng.permutation(group)[:views]
        return rng.choice(group, views) if rng.random() < 0.8 else np.resize(group, views)


@dataclasses.dataclass(frozen=True)
class OtherStreamSampler:
    """A walk through the streams that a reference frame is not in, or frames of its group.

    Attributes:
      video: rules of the walks.
      video_share: share of the draws that are walks where the other streams are long enough;
        groups of at most `views` frames always are.
      shuffle_above: members are shuffled where the uniform number that chose against a walk is
        above this, sorted elsewhere.
      graph: overlaps and streams of the data set.
    """

    video: VideoSampler
    video_share: float
    shuffle_above: float = 0.75
    graph: OverlapGraph | None = None

    def with_video(self, **settings: float) -> OtherStreamSampler:
        """Return the sampler with other settings of its walks, by field of `VideoSampler`."""
        return dataclasses.replace(self, video=self.video.with_video(**settings))

    def weights(self, lengths: Int[np.ndarray, " s"], min_views: int) -> Int[np.ndarray, " s"]:
        counts = _required(self.graph).reference_counts(lengths, min_views)
        return np.where(lengths >= max(min_views, 1), counts, 0)

    def positions(
        self, rng: np.random.Generator, sequence: int, length: int, views: int, min_views: int
    ) -> Positions:
        graph = _required(self.graph)
        reference = int(rng.choice(graph.references(sequence, length, min_views)))
        others = graph.stream_of(sequence, length, reference, other=True)
        neighbours, _ = graph.neighbours_of(sequence, reference)
        group = np.sort(np.concatenate([[reference], neighbours]))
        choice = rng.random()
        walks = choice < self.video_share and len(others) >= views
        if len(others) and (walks or len(group) <= views):
            return _walk(rng, self.video, others, views, views)
        if len(group) <= views:
            return np.sort(rng.choice(group, views))
        reach = max(int(views * (2 + 2 * rng.random())), views)
        chosen = np.sort(rng.choice(group[:reach], views, replace=False))
        return rng.permutation(chosen) if choice > self.shuffle_above else chosen


@dataclasses.dataclass(frozen=True)
class OverlapSampler:
    """A reference frame first, then frames that overlap it, by their overlap.

    References are uniform over all frames. Up to `REFERENCES` of the drawn sequence are tried until
    one has enough partners; with too few, partners repeat.

    Attributes:
      min_overlap: partners overlap the reference by more than this, and by less than 1.
      replace_prob: share of the draws in which partners may repeat though there are enough.
      graph: overlaps of the data set.
    """

    min_overlap: float = 0.01
    replace_prob: float = 0.5
    graph: OverlapGraph | None = None

    def weights(self, lengths: Int[np.ndarray, " s"], min_views: int) -> Int[np.ndarray, " s"]:
        return lengths * (lengths >= max(min_views, 1))

    def positions(
        self, rng: np.random.Generator, sequence: int, length: int, views: int, min_views: int
    ) -> Positions:
        del min_views
        reference, partners, overlaps = self._partners(rng, sequence, length)
        for _ in range(REFERENCES - 1):
            if len(partners) >= views - 1:
                break
            reference, partners, overlaps = self._partners(rng, sequence, length)
        if len(partners) == 0:
            return np.full(views, reference)
        repeat = len(partners) < views - 1 or rng.random() < self.replace_prob
        drawn = rng.choice(partners, views - 1, replace=repeat, p=_shares(overlaps))
        return np.concatenate([[reference], drawn])

    def _partners(
        self, rng: np.random.Generator, sequence: int, length: int
    ) -> tuple[int, Positions, Float[np.ndarray, " n"]]:
        """Draw a reference; returns it with its partners and their overlaps."""
        reference = int(rng.integers(length))
        neighbours, overlaps = _required(self.graph).neighbours_of(sequence, reference)
        usable = (overlaps > self.min_overlap) & (overlaps < 1)
        return reference, neighbours[usable], overlaps[usable]


@dataclasses.dataclass(frozen=True)
class OverlapWalkSampler:
    """A random walk from frame to overlapping frame, padded with repeats.

    First frames are uniform over all frames. A walk should reach `max(views // 5, 3)` distinct
    frames; up to `WALK_STARTS` first frames of the drawn sequence are tried, and the walk that
    reaches the most is kept.

    Attributes:
      margin: overlap that counts as none; steps are proportional to what exceeds it.
      graph: overlaps of the data set.
    """

    margin: float = 0.2
    graph: OverlapGraph | None = None

    def weights(self, lengths: Int[np.ndarray, " s"], min_views: int) -> Int[np.ndarray, " s"]:
        return lengths * (lengths >= max(min_views, 1))

    def positions(
        self, rng: np.random.Generator, sequence: int, length: int, views: int, min_views: int
    ) -> Positions:
        del min_views
        longest: list[int] = []
        for start in rng.permutation(length)[:WALK_STARTS]:
            visited = self._walk(rng, sequence, int(start), views)
            longest = max(longest, visited, key=len)
            if len(longest) >= min(views, max(views // 5, 3)):
                break
        repeats = rng.choice(longest, views - len(longest))
        return np.concatenate([longest, repeats]).astype(int)

    def _walk(self, rng: np.random.Generator, sequence: int, start: int, views: int) -> list[int]:
        """Distinct frames in the order in which a walk from `start` reaches them."""
        graph, here, visited = _required(self.graph), start, [start]
        for _ in range(WALK_STEPS):
            neighbours, overlaps = graph.neighbours_of(sequence, here)
            weights = np.maximum(overlaps - self.margin, 0.0)
            if len(visited) == views or not weights.sum() > 0:
                break
            unvisited = np.where(np.isin(neighbours, visited), 0.0, weights)
            weights = unvisited if unvisited.sum() > 0 else weights
            here = int(rng.choice(neighbours, p=_shares(weights)))
            if here not in visited:
                visited.append(here)
        return visited


def _walk(
    rng: np.random.Generator, video: VideoSampler, frames: Positions, views: int, shortest: int
) -> Positions:
    """Draw a walk over some frames of a sequence, from one that has `shortest` frames left."""
    start = int(rng.integers(max(len(frames) - shortest, 0) + 1))
    return frames[video.walk(rng, views, start, len(frames))]


def _shares(weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    weights = weights.astype(np.float64)
    return weights / weights.sum()


def _required(graph: OverlapGraph | None) -> OverlapGraph:
    if graph is None:
        raise ValueError("a sampler that follows overlaps needs the graph of its data set")
    return graph
