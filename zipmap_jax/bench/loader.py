"""Speed of a data loader, and the idle time of a device that it feeds."""

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
    """Speed of a data loader.

    Attributes:
      images: number of views in all batches.
      seconds: waiting time for each batch.
      workers: number of reading processes, at least 1.
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

    def idle_share(self, device_rate: float) -> float:
        """Share of time that a device of `device_rate` images per second would wait."""
        return max(0.0, 1.0 - self.images_per_second / device_rate)

    def workers_for(self, device_rate: float) -> int:
        """Workers needed for `device_rate` images per second, assuming linear scaling."""
        return math.ceil(device_rate / self.per_worker)


def measure(
    batches: Iterator[Mapping[str, np.ndarray]],
    count: int,
    warm_up: int = 1,
    workers: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> LoaderSpeed:
    """Time the reading of batches.

    Args:
      batches: batches of a loader.
      count: number of timed batches; several times the number of workers, which take turns.
      warm_up: number of batches before the clock starts, such as those read ahead during startup.
      workers: number of reading processes.
      clock: function that returns seconds.

    Raises:
      UserError: the loader has fewer batches.
    """
    for _ in itertools.islice(batches, warm_up):
        pass
    images, seconds = 0, []
    last = clock()
    for batch in itertools.islice(batches, count):
        now = clock()
        scenes, views = batch["images"].shape[:2]
        images += scenes * views
        seconds.append(now - last)
        last = now
    if len(seconds) < count:
        raise UserError(
            f"after {warm_up} batches the loader has only {len(seconds)} of the {count} batches "
            "to measure: ask for fewer"
        )
    return LoaderSpeed(images, tuple(seconds), max(workers, 1))


def as_dict(speed: LoaderSpeed, device_rate: float | None = None) -> dict[str, Any]:
    """The measurement by name, compared with a device's images per second if given."""
    out: dict[str, Any] = {
        "images_per_second": speed.images_per_second,
        "images_per_second_and_worker": speed.per_worker,
        "workers": speed.workers,
        "batches": len(speed.seconds),
        "images": speed.images,
        "seconds_per_batch": speed.batch_seconds,
        "slowest_batch_seconds": max(speed.seconds),
    }
    if device_rate is not None:
        out |= {
            "device_images_per_second": device_rate,
            "starves": speed.images_per_second < device_rate,
            "idle_share": speed.idle_share(device_rate),
            "workers_needed": speed.workers_for(device_rate),
        }
    return out
