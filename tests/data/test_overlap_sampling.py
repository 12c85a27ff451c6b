"""Samplers that follow overlaps: groups, other streams, partners and walks."""

from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.data.overlap_sampling import (
    OtherStreamSampler,
    OverlapGraph,
    OverlapMixSampler,
    OverlapSampler,
    OverlapWalkSampler,
)
from zipmap_jax.data.sampling import FrameSampler, VideoSampler

LENGTHS = np.array([4, 20])
VIDEO = VideoSampler(max_interval=1, video_prob=1.0)


def ring(reach: int = 3, streams: np.ndarray | None = None) -> OverlapGraph:
    """Cyclic sequences whose frames overlap with those up to `reach` steps away."""
    neighbours, overlaps = [], []
    for length in LENGTHS:
        for frame in range(length):
            steps = [d for d in range(1, reach + 1) for _ in (0, 1)] if length > 2 * reach else []
            signs = np.resize([1, -1], len(steps)).astype(int)
            neighbours.append((frame + signs * np.array(steps, int)) % length)
            overlaps.append(1 - 0.3 * np.array(steps, float))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in neighbours])])
    first = np.concatenate([[0], np.cumsum(LENGTHS)[:-1]])
    return OverlapGraph(
        first, offsets, np.concatenate(neighbours), np.concatenate(overlaps), streams
    )


def draws(sampler: FrameSampler, views: int, count: int = 500, min_views: int = 2) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([sampler.positions(rng, 1, 20, views, min_views) for _ in range(count)])


def distance(frames: np.ndarray, reference: np.ndarray) -> np.ndarray:
    gap = np.abs(frames - reference)
    return np.minimum(gap, 20 - gap)


@pytest.mark.parametrize(
    "sampler",
    [
        OverlapMixSampler(VIDEO, 0.5),
        OtherStreamSampler(VIDEO, 0.7),
        OverlapSampler(),
        OverlapWalkSampler(),
    ],
)
@pytest.mark.parametrize("views", [1, 2, 7, 30])
def test_positions_exist_and_are_as_many_as_views(sampler: FrameSampler, views: int) -> None:
    with pytest.raises(ValueError, match="needs the graph"):
        sampler.positions(np.random.default_rng(0), 1, 20, views, 2)
    streams = np.arange(24) % 2
    bound = type(sampler)(**{**vars(sampler), "graph": ring(streams=streams)})  # type: ignore[arg-type]
    positions = draws(bound, views, 60)
    assert positions.shape == (60, views)
    assert positions.min() >= 0
    assert positions.max() < 20


def test_sequences_count_by_their_groups_or_frames() -> None:
    mix = OverlapMixSampler(VIDEO, 0.5, min_members=3, graph=ring())
    assert mix.weights(LENGTHS, 2).tolist() == [0, 20]
    assert mix.weights(LENGTHS, 8).tolist() == [0, 0]
    assert OtherStreamSampler(VIDEO, 0.7, graph=ring()).weights(LENGTHS, 7).tolist() == [0, 20]
    for sampler in (OverlapSampler(), OverlapWalkSampler()):
        assert sampler.weights(LENGTHS, 2).tolist() == [4, 20]
        assert sampler.weights(LENGTHS, 5).tolist() == [0, 20]


def test_a_mix_walks_or_draws_members_of_a_group() -> None:
    mix = OverlapMixSampler(VIDEO, 0.5, graph=ring())
    drawn = draws(mix, 5, 2000)
    walks = (np.diff(drawn, axis=1) == 1).all(1)
    # +- 5 deviations; by chance a shuffled group is in order once in some hundred draws.
    assert abs(walks.sum() - 1000) < 130
    groups = drawn[~walks]
    assert all(len(set(row.tolist())) == 5 for row in groups)
    spread = np.array([max(distance(row, row[:, None]).ravel()) for row in groups])
    assert spread.max() <= 6  # both ends of a group of reach 3
    # A group of 7 frames for 9 views: 20 % are cyclic repeats.
    small = draws(OverlapMixSampler(VIDEO, 0.0, graph=ring()), 9, 1000)
    cyclic = (small[:, :2] == small[:, 7:]).all(1) & ([len(set(r.tolist())) == 7 for r in small])
    assert abs(cyclic.sum() - 200) < 64


def test_a_mix_by_overlap_prefers_near_members() -> None:
    drawn = draws(OverlapMixSampler(VIDEO, 0.0, by_overlap=True, graph=ring()), 1, 6000)
    # Uniform references: each frame is as frequent as any other.
    assert np.bincount(drawn.ravel(), minlength=20).min() > 200
    one = OverlapGraph(
        np.array([0]), np.array([0, 2, 2, 2]), np.array([1, 2]), np.array([0.8, 0.2])
    )
    mix = OverlapMixSampler(VIDEO, 0.0, by_overlap=True, graph=one)
    rng = np.random.default_rng(1)
    counts = np.bincount(mix.positions(rng, 0, 3, 8000, 2), minlength=3)
    np.testing.assert_allclose(counts / 8000, [0.5, 0.4, 0.1], atol=0.03)


def test_walks_keep_to_their_stream_or_to_the_others() -> None:
    streams = np.concatenate([np.zeros(4, int), np.repeat([0, 1], 10)])
    own = OverlapMixSampler(VIDEO, 1.0, own_stream=True, start_divisor=3, graph=ring(3, streams))
    for row in draws(own, 6):
        assert len(set((row // 10).tolist())) == 1
    # A start needs only 3 frames, so walks of 6 views may repeat frames.
    assert {int(row.min() % 10) for row in draws(own, 6)} > {5, 6}
    other = OtherStreamSampler(VIDEO, 1.0, graph=ring(1, streams))
    for row in draws(other, 6):
        assert len(set((row // 10).tolist())) == 1
        assert (np.diff(row) == 1).all()
    # 12 views are more than either stream and than any group: walks repeat frames.
    assert draws(other, 12, 50).shape == (50, 12)
    with pytest.raises(ValueError, match="needs streams"):
        draws(OtherStreamSampler(VIDEO, 1.0, graph=ring()), 2, 1)


def test_other_draws_are_members_of_the_group_sorted_or_shuffled() -> None:
    streams = np.concatenate([np.zeros(4, int), np.repeat([0, 1], 10)])
    drawn = draws(OtherStreamSampler(VIDEO, 0.0, graph=ring(3, streams)), 3, 2000)
    ordered = (np.diff(drawn, axis=1) > 0).all(1)
    # Sorted below 0.75, and a sixth of the shuffled ones: 1500 + 83 +- 5 deviations.
    assert abs(ordered.sum() - 1583) < 91
    assert all(len(set(row.tolist())) == 3 for row in drawn)


def test_partners_overlap_the_reference() -> None:
    drawn = draws(OverlapSampler(graph=ring()), 5, 2000)
    gaps = distance(drawn[:, 1:], drawn[:, :1])
    assert set(gaps.ravel().tolist()) == {1, 2, 3}
    distinct = np.array([len(set(row.tolist())) == 5 for row in drawn])
    assert 0.5 < distinct.mean() < 0.8  # half without repeats, and some of the others
    first = np.bincount(drawn[:, 0], minlength=20)
    assert first.min() > 50
    near = (gaps[:, 0] == 1).mean()
    assert near == pytest.approx(0.7 / 1.2, abs=0.05)
    alone = draws(OverlapSampler(0.99, graph=ring()), 3, 20)
    assert (alone == alone[:, :1]).all()


def test_a_walk_goes_from_neighbour_to_neighbour_and_pads_with_repeats() -> None:
    drawn = draws(OverlapWalkSampler(margin=0.5, graph=ring()), 8, 200)
    # Of the overlaps 0.7, 0.4 and 0.1 only the first exceeds the margin.
    assert all(len(set(row.tolist())) == 8 for row in drawn)
    for row in drawn:
        reached = [row[0]]
        for frame in row[1:]:
            assert distance(np.array(reached), frame).min() == 1
            reached.append(frame)
    alone = draws(OverlapWalkSampler(margin=0.9, graph=ring()), 4, 20)
    assert (alone == alone[:, :1]).all()
