"""Frame samplers: how often, how many, in which order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from zipmap_jax.data.sampling import (
    PoolSampler,
    VideoSampler,
    WindowSampler,
    shuffle_blocks,
    window,
)


def draws(count: int, views: int, start: int, length: int, **options: object) -> np.ndarray:
    rng = np.random.default_rng(0)
    sampler = VideoSampler(**options)  # type: ignore[arg-type]
    return np.stack([sampler.walk(rng, views, start, length) for _ in range(count)])


@pytest.mark.parametrize("video_prob", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("block", [None, 2, 24])
def test_positions_exist_and_have_the_requested_number(
    video_prob: float, block: int | None
) -> None:
    rng = np.random.default_rng(1)
    for _ in range(400):
        length = int(rng.integers(1, 40))
        start, views = int(rng.integers(length)), int(rng.integers(1, 50))
        interval = int(rng.integers(1, 30))
        got = VideoSampler(interval, video_prob, 0.5, block).walk(rng, views, start, length)
        assert got.shape == (views,)
        assert got.min() >= 0
        assert got.max() < length
        if length - start >= views:
            assert got.min() == start
            assert len(set(got.tolist())) == views


def test_as_many_frames_as_views_come_in_order() -> None:
    np.testing.assert_array_equal(draws(5, 4, 6, 10), np.tile(np.arange(6, 10), (5, 1)))


def test_one_view_is_the_start() -> None:
    np.testing.assert_array_equal(draws(3, 1, 2, 10), [[2]] * 3)


def test_videos_are_sorted_and_half_of_them_regular() -> None:
    got = draws(2000, 5, 0, 1000, max_interval=7, video_prob=1.0)
    gaps = np.diff(got, axis=1)
    assert gaps.min() >= 1
    assert gaps.max() == 7
    # One interval throughout, by intent (0.5) or by chance (7^-3): 1000 +- 5 deviations.
    regular = (gaps == gaps[:, :1]).all(1)
    assert abs(regular.sum() - 1003) < 112
    free = np.bincount(gaps[~regular].ravel(), minlength=8)[1:]
    assert free.min() > 0.8 * free.mean()


def test_intervals_shrink_to_the_length_of_the_sequence() -> None:
    # 12 frames left for 4 gaps: gaps up to 6, one common gap up to 3.
    got = draws(1000, 5, 3, 16, max_interval=25, video_prob=1.0, fix_interval_prob=1.0)
    assert set(np.diff(got, axis=1).ravel().tolist()) == {1, 2, 3}
    free = draws(1000, 5, 3, 16, max_interval=25, video_prob=1.0, fix_interval_prob=0.0)
    assert np.diff(free, axis=1).max() > 3
    assert (np.diff(free, axis=1) > 0).all()


def test_shares_of_video_and_shuffled_draws() -> None:
    got = draws(2000, 6, 0, 500, video_prob=0.3)
    ordered = (np.diff(got, axis=1) > 0).all(1)
    # 0.3, and 1 of 720 shuffled ones: 600 + 2 +- 5 deviations.
    assert abs(ordered.sum() - 602) < 103
    first = got[~ordered]
    assert (first[:, 0] != first.min(1)).mean() > 0.7


def test_blocks_keep_their_frames() -> None:
    rng = np.random.default_rng(2)
    got = shuffle_blocks(rng, np.arange(10), 4)
    assert [sorted(part.tolist()) for part in (got[:4], got[4:8], got[8:])] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    assert not np.array_equal(got, np.arange(10))
    moved = np.stack([shuffle_blocks(rng, np.arange(10)) for _ in range(200)])
    assert set(moved[:, 0].tolist()) == set(range(10))


@pytest.mark.parametrize("start", [5, 8, 9])
def test_short_sequences_are_revisited_with_every_frame_they_have(start: int) -> None:
    """Parity: the reference divides by zero with one frame left and raises with none."""
    got = draws(600, 12, start, 10, video_prob=1.0)
    unique = max(2, 10 - start)
    for row in got:
        lap = row[:unique]
        assert (np.diff(lap) > 0).all()
        np.testing.assert_array_equal(row, np.resize(lap, 12))
    # The walk may start anywhere up to the requested frame.
    assert set(got[:, 0].tolist()) == set(range(min(start, 10 - unique) + 1))


def test_a_single_frame_repeats() -> None:
    np.testing.assert_array_equal(draws(2, 3, 0, 1), [[0, 0, 0]] * 2)


def test_kinds_of_revisit() -> None:
    got = draws(4000, 20, 0, 10, video_prob=0.5, block=None)
    cyclic = (got[:, :10] == got[:, 10:]).all(1)
    ascending = (np.diff(got, axis=1) >= 0).all(1)
    # Half go round, a tenth is drawn and sorted: +- 5 deviations.
    assert abs(cyclic.sum() - 2000) < 158
    assert abs(ascending.sum() - 400) < 95


def test_window_stays_near_its_anchor() -> None:
    rng = np.random.default_rng(3)
    got = np.stack([window(rng, 4, 50, 100, ratio=2.0) for _ in range(500)])
    assert (got[:, 0] == 50).all()
    assert (got[:, 1:].min(), got[:, 1:].max()) == (42, 57)
    edge = np.stack([window(rng, 4, 1, 100) for _ in range(200)])
    assert edge.min() == 0
    assert edge[:, 1:].max() == 8


def test_starts_are_drawn_per_scene_per_frame_or_by_length() -> None:
    lengths = np.array([3, 10, 30])
    odds = {kind: VideoSampler(start=kind).weights(lengths, 4) for kind in KINDS}
    assert {kind: weights.tolist() for kind, weights in odds.items()} == {
        "scene": [0, 1, 1],
        "frame": [0, 7, 27],
        "length": [0, 10, 30],
    }


KINDS = ("scene", "frame", "length")


def test_starts_are_uniform_and_reversal_is_even() -> None:
    rng = np.random.default_rng(4)
    sampler = VideoSampler(max_interval=1, video_prob=1.0, reverse_prob=0.5)
    got = np.stack([sampler.positions(rng, 0, 10, 5, 2) for _ in range(2000)])
    backwards = got[:, 0] > got[:, -1]
    assert abs(backwards.sum() - 1000) < 112
    starts = Counter(got.min(1).tolist())
    assert set(starts) == set(range(6))
    assert min(starts.values()) > 250
    # Starts of frame lists are those of the shortest usable sequence: frames repeat near the end.
    late = VideoSampler(video_prob=1.0, start="frame")
    firsts = {int(late.positions(rng, 0, 10, 1, 2)[0]) for _ in range(300)}
    assert firsts == set(range(9))


def test_pools_repeat_frames_only_where_they_may() -> None:
    rng = np.random.default_rng(5)
    apart = PoolSampler(replace=False)
    assert len(set(apart.positions(rng, 0, 8, 8, 1).tolist())) == 8
    assert apart.positions(rng, 0, 3, 8, 1).shape == (8,)
    many = np.stack([PoolSampler().positions(rng, 0, 8, 8, 1) for _ in range(50)])
    assert max(len(set(row.tolist())) for row in many) < 8
    assert set(many.ravel().tolist()) == set(range(8))
    assert PoolSampler().weights(np.array([1, 5]), 2).tolist() == [0, 1]
    assert WindowSampler().weights(np.array([1, 5]), 2).tolist() == [0, 1]
    near = WindowSampler(ratio=1.0).positions(rng, 0, 100, 3, 1)
    assert np.abs(near - near[0]).max() <= 3
