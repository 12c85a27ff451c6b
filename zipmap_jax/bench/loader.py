"""How fast a loader is, and whether the device would wait for it."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class LoaderSpeed:
    """Images read in a time.

    Attributes:
      images: views of all batches.
      seconds: time that every batch kept its reader waiting.
      workers: processes that read; the main process counts if there are none.
    """

    images: int
    seconds: tuple[float, ...]
    workers: int

    @property
    def images_per_second(self) -> float:
        """Images per second of all workers together."""
        return self.images / sum(self.seconds)

    @property
    def per_worker(self) -> float:
        """Images per second of one worker."""
        return self.images_per_second / self.workers

    @property
    def batch_seconds(self) -> float:
        """Mean time between two batches."""
        return sum(self.seconds) / len(self.seconds)

    def waiting(self, wanted: float) -> float:
        """Share of its time that a device of `wanted` images per second would stand idle."""
        return max(0.0, 1.0 - self.images_per_second / wanted)

    def workers_for(self, wanted: float) -> int:
        """Workers that feed such a device, if each adds as much as those measured."""
        return math.ceil(wanted / self.per_worker)


def measure(
    batches: Iterator[Mapping[str, np.ndarray]],
    count: int,
    warm_up: int = 1,
    workers: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> LoaderSpeed:
    """Take batches as fast as they come.

    Args:
      batches: of a loader.
      count: batches whose time counts; several times the number of workers, which deliver in turn.
      warm_up: batches before the clock starts: those that were read ahead while processes started
        and programs compiled.
      workers: processes that read.
      clock: seconds.

    Raises:
      UserError: there are not enough batches.
    """
    for _ in itertools.islice(batches, warm_up):
        pass
    images, seconds = 0, []
    before = clock()
    for batch in itertools.islice(batches, count):
        now = clock()
        scenes, views = batch["images"].shape[:2]
        images += scenes * views
        seconds.append(now - before)
        before = now
    if len(seconds) < count:
        raise UserError(
            f"measuring {count} batches after {warm_up} needs as many, there were "
            f"{len(seconds)} left: ask for fewer"
        )
    return LoaderSpeed(images, tuple(seconds), max(workers, 1))


def as_dict(speed: LoaderSpeed, wanted: float | None = None) -> dict[str, Any]:
    """Numbers of a measurement by name; with the device's `wanted` images per second, a verdict."""
    out: dict[str, Any] = {
        "images_per_second": speed.images_per_second,
        "images_per_second_and_worker": speed.per_worker,
        "workers": speed.workers,
        "batches": len(speed.seconds),
        "images": speed.images,
        "seconds_per_batch": speed.batch_seconds,
        "slowest_batch_seconds": max(speed.seconds),
    }
    if wanted is not None:
        out |= {
            "device_images_per_second": wanted,
            "starves": speed.images_per_second < wanted,
            "idle_share": speed.waiting(wanted),
            "workers_needed": speed.workers_for(wanted),
        }
    return out
