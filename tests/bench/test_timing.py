from __future__ import annotations

import pytest

from zipmap_jax.bench.series import Line, fit_line
from zipmap_jax.bench.timing import Timing, timed


class Clock:
    """Time passes only in calls."""

    def __init__(self, *durations: float) -> None:
        self.now, self.durations = 100.0, list(durations)

    def __call__(self) -> float:
        return self.now

    def work(self) -> None:
        self.now += self.durations.pop(0)


def test_warm_up_does_not_count():
    clock = Clock(50, 40, 1, 3, 2)
    timing = timed(clock.work, repeats=3, warm_up=2, clock=clock)
    assert timing.seconds == (1, 3, 2)
    assert (timing.median, timing.fastest, timing.slowest, timing.spread) == (2, 1, 3, 1.0)


def test_a_slow_call_runs_once_per_kind():
    clock = Clock(*[70.0] * 12)
    assert timed(clock.work, repeats=10, warm_up=2, limit=60, clock=clock).seconds == (70,)
    assert len(clock.durations) == 10


def test_a_limit_ends_the_repeats():
    clock = Clock(*[10.0] * 12)
    assert len(timed(clock.work, repeats=10, warm_up=2, limit=60, clock=clock).seconds) == 4


def test_median_of_an_even_count_lies_between():
    assert Timing((1.0, 2.0, 4.0, 9.0)).median == 3.0


def test_line_through_points():
    line = fit_line([1, 2, 4], [3.0, 5.0, 9.0])
    assert line is not None
    assert (line.intercept, line.slope, line.r2) == pytest.approx((1.0, 2.0, 1.0))
    bent = fit_line([1, 2, 4, 8], [1.0, 8.0, 64.0, 512.0])
    assert bent is not None
    assert bent.r2 < 0.95


def test_two_points_make_no_fit():
    assert fit_line([1, 2], [1.0, 2.0]) is None
    assert fit_line([2, 2, 2], [1.0, 2.0, 3.0]) is None


def test_constant_seconds_are_a_flat_line():
    assert fit_line([1, 2, 4], [3.0, 3.0, 3.0]) == Line(3.0, 0.0, 1.0)
