"""Images per second of a loader, by a controlled clock."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from zipmap_jax.bench.loader import as_dict, measure


class Clock:
    """Time passes only while batches are read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def batches(self, *seconds: float) -> Iterator[dict[str, np.ndarray]]:
        for passed in seconds:
            self.now += passed
            yield {"images": np.zeros((2, 5, 1, 1, 3), np.uint8)}


def test_the_warm_up_does_not_count() -> None:
    clock = Clock()
    speed = measure(clock.batches(60, 9, 1, 2, 3, 100), 3, 2, workers=4, clock=clock)
    assert speed.seconds == (1, 2, 3)
    assert speed.images == 30
    assert speed.images_per_second == 5
    assert speed.per_worker == 1.25
    assert speed.batch_seconds == 2


@pytest.mark.parametrize(
    ("device_rate", "starves", "idle", "needed"),
    [(4, False, 0, 4), (5, False, 0, 4), (20, True, 0.75, 16)],
)
def test_a_faster_device_waits(device_rate: float, starves: bool, idle: float, needed: int) -> None:
    clock = Clock()
    speed = measure(clock.batches(1, 2, 2), 2, workers=4, clock=clock)
    facts = as_dict(speed, device_rate)
    assert (facts["starves"], facts["idle_share"], facts["workers_needed"]) == (
        starves,
        idle,
        needed,
    )
    assert facts["slowest_batch_seconds"] == 2


def test_too_few_batches_are_an_error() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="only 2 of the 3 batches to measure: ask for fewer"):
        measure(clock.batches(1, 1, 1), 3, clock=clock)
