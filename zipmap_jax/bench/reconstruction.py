"""Seconds and memory of a reconstruction as users run it, from host images to host predictions.

Three programs follow each other (`zipmap_jax.inference.offline_program`), with the chunk and the
padding that `reconstruct` would choose. `zipmap_jax.bench.runtime` times another thing: one program
over images that lie on the device already.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from zipmap_jax.bench.runtime import OUT_OF_TIME, allocator_peak, first_line
from zipmap_jax.bench.weights import random_params
from zipmap_jax.errors import is_out_of_memory
from zipmap_jax.inference.buckets import Bucket, bucket_of
from zipmap_jax.inference.compile import Program, compiled_update
from zipmap_jax.inference.memory import (
    MemoryEstimate,
    estimate_memory,
    free_before_loading,
    free_memory,
    workload_of,
)
from zipmap_jax.inference.scene_plan import chunk_for, with_padding
from zipmap_jax.models.api import Model
from zipmap_jax.structs import Views

VIEWS = (25, 750, 1500, 5000)
_CALLS = 2
_DIFFERENT = 8
"""Images; the others repeat them."""


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """One number of views; everything after `missing` is None where it was not measured.

    Attributes:
      views: of the scene.
      program_views: of the program, which is filled up to these.
      chunk: views worked on at a time; None = all.
      planned_bytes: on the device, of the program, as `device_bytes` expects.
      fits: whether that and what the host needs is free, by the same estimate.
      missing: why there is no measurement; empty when there is one.
      compile_seconds: to trace and compile the three programs.
      first_seconds: of the first call.
      seconds: median of the calls after it; None if there was no time for one.
      calls: how many these were.
      peak_bytes: high-water mark of the device's allocator; None where an earlier, larger call of
        the process had set it already, and on the CPU.
    """

    views: int
    program_views: int
    chunk: int | None
    planned_bytes: int
    fits: bool
    missing: str = ""
    compile_seconds: float | None = None
    first_seconds: float | None = None
    seconds: float | None = None
    calls: int | None = None
    peak_bytes: int | None = None


def numbers_of_views(asked: Sequence[int]) -> tuple[int, ...]:
    """Those of `VIEWS` that are asked for; of a rehearsal, which has none of them, the first four.

    Args:
      asked: numbers of views in any order.

    Returns:
      At most four of them, rising.
    """
    return tuple(v for v in VIEWS if v in asked) or tuple(sorted(set(asked))[:4])


def reconstructions(
    model: Model, size: tuple[int, int], views: Sequence[int], left: Callable[[], float]
) -> Iterator[Reconstruction]:
    """Measure reconstructions of random images by random weights.

    Where one does not fit, larger ones are not tried. The first is tried whatever it may take;
    another only if there is time to compile and call it once.

    Args:
      model: without a window.
      size: (height, width) of the network images.
      views: numbers of views, rising: the mark of the allocator never falls.
      left: seconds left.
    """
    params = random_params(model) if views else None
    before, too_many = None, 0
    for count in views:
        bucket, estimate = _plan(model, params, count, size)
        row = Reconstruction(
            count, bucket.views, bucket.chunk, estimate.device_bytes, estimate.fits
        )
        if too_many:
            reason = f"does not fit: {too_many} views do not"
        elif estimate.hopeless:
            # Here a lack of memory would end the process without a word.
            reason, too_many = f"does not fit: {estimate.text.split(';')[0]}", count
        elif _seconds_needed(row, before) >= left():
            reason = OUT_OF_TIME
        else:
            try:
                before = row = _measured(row, model, params, bucket, left)
                reason = ""
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason, too_many = f"does not fit: {first_line(error)}", count
        yield dataclasses.replace(row, missing=reason)


def _plan(
    model: Model, params: Any, views: int, size: tuple[int, int]
) -> tuple[Bucket, MemoryEstimate]:
    """The program that `reconstruct` chooses, and what it expects of it."""
    free = free_before_loading(free_memory(), params)
    work = workload_of(model, params, [size] * views, size)
    work = dataclasses.replace(work, chunk=chunk_for(work, 1, free))
    filled = estimate_memory(with_padding(work), *free)
    bucket = bucket_of(views, size, chunk=work.chunk, rounded=filled.fits)
    return bucket, filled if filled.fits else estimate_memory(work, *free)


def _seconds_needed(row: Reconstruction, before: Reconstruction | None) -> float:
    """To compile as long as before, and for one call."""
    if before is None or before.compile_seconds is None or before.first_seconds is None:
        return 0.0
    return before.compile_seconds + before.first_seconds * row.program_views / before.program_views


def _measured(
    row: Reconstruction, model: Model, params: Any, bucket: Bucket, left: Callable[[], float]
) -> Reconstruction:
    mark = allocator_peak()
    program = compiled_update(model, params, bucket)
    views = random_views(bucket, row.views)
    seconds = [_call(program, params, views)]
    while len(seconds) <= _CALLS and seconds[-1] < left():
        seconds.append(_call(program, params, views))
    first, *later = seconds
    peak = allocator_peak()
    return dataclasses.replace(
        row,
        compile_seconds=program.seconds,
        first_seconds=first,
        seconds=statistics.median(later) if later else None,
        calls=len(later),
        peak_bytes=None if peak == mark else peak,
    )


def _call(program: Program, params: Any, views: Views) -> float:
    """Seconds until the predictions are on the host."""
    start = time.perf_counter()
    program.run(params, views, lambda done, total: None)
    return time.perf_counter() - start


def random_views(bucket: Bucket, views: int) -> Views:
    """A few random images again and again on the host, then black ones that fill the bucket."""
    shape = (bucket.height, bucket.width, 3)
    few = np.random.default_rng(0).integers(0, 256, (min(views, _DIFFERENT), *shape), np.uint8)
    images = np.zeros((1, bucket.views, *shape), np.uint8)
    for i in range(views):
        images[0, i] = few[i % len(few)]
    return Views(images, np.arange(bucket.views)[None] < views)  # pyright: ignore[reportArgumentType]
