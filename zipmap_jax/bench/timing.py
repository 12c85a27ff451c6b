"""Repeated timing of one call."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of every repeat, in order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def fastest(self) -> float:
        return min(self.seconds)

    @property
    def slowest(self) -> float:
        return max(self.seconds)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        return (self.slowest - self.fastest) / self.median


def timed(
    call: Callable[[], Any],
    repeats: int = 10,
    warm_up: int = 2,
    limit: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time a call until its results are ready.

    Args:
      call: function to time, including the wait for its results.
      repeats: number of timed calls.
      warm_up: number of calls before them.
      limit: seconds after which no further call starts, except for the first of each kind.
      clock: function that returns seconds.
    """
    start = clock()
    for number in range(warm_up):
        if number == 0 or clock() - start < limit / 2:
            jax.block_until_ready(call())
    seconds: list[float] = []
    while len(seconds) < repeats and (not seconds or clock() - start < limit):
        call_start = clock()
        jax.block_until_ready(call())
        seconds.append(clock() - call_start)
    return Timing(tuple(seconds))
