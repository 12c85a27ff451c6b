"""Seconds and memory of whole reconstructions, from host images to host predictions.

The programs (`zipmap_jax.inference.offline_program`), the chunk and the padding are those of
`reconstruct`. `zipmap_jax.bench.runtime` times one program over images on the device instead.
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
_DISTINCT_IMAGES = 8


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """Measurement for one number of views; fields after `missing` are None if not measured.

    Attributes:
      views: number of views of the scene.
      program_views: number of views of the program, including padding.
      chunk: views per chunk; None = all.
      planned_bytes: estimated bytes on the device.
      fits: whether the estimates for device and host fit into free memory.
      missing: reason why the measurement is missing; empty if it exists.
      compile_seconds: time to trace and compile the programs.
      first_seconds: time of the first call.
      seconds: median time of the later calls; None if there was no time for one.
      calls: number of later calls.
      peak_bytes: peak of the device's allocator; None on the CPU, and where a larger earlier call
        of the process set the peak.
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


def numbers_of_views(requested: Sequence[int]) -> tuple[int, ...]:
    """The requested numbers of `VIEWS` or, if there are none, the four smallest requested ones."""
    return tuple(v for v in VIEWS if v in requested) or tuple(sorted(set(requested))[:4])


def reconstructions(
    model: Model, size: tuple[int, int], views: Sequence[int], left: Callable[[], float]
) -> Iterator[Reconstruction]:
    """Measure reconstructions of random images with random weights.

    After a reconstruction that does not fit, larger ones are skipped. All but the first are also
    skipped if the time left does not suffice to compile and call them once.

    Args:
      model: model without windows.
      size: (height, width) of the network images.
      views: numbers of views, ascending, as the peak of the allocator never falls.
      left: function that returns the seconds left.
    """
    params = random_params(model) if views else None
    last, too_many = None, 0
    for count in views:
        bucket, estimate = _plan(model, params, count, size)
        row = Reconstruction(
            count, bucket.views, bucket.chunk, estimate.device_bytes, estimate.fits
        )
        if too_many:
            reason = f"does not fit: {too_many} views do not"
        elif estimate.hopeless:
            # Without this check, a lack of memory would kill the process.
            reason, too_many = f"does not fit: {estimate.text.split(';')[0]}", count
        elif _seconds_needed(row, last) >= left():
            reason = OUT_OF_TIME
        else:
            try:
                last = row = _measured(row, model, params, bucket, left)
                reason = ""
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason, too_many = f"does not fit: {first_line(error)}", count
        yield dataclasses.replace(row, missing=reason)


def _plan(
    model: Model, params: Any, views: int, size: tuple[int, int]
) -> tuple[Bucket, MemoryEstimate]:
    """The bucket that `reconstruct` chooses, and its memory estimate."""
    free = free_before_loading(free_memory(), params)
    work = workload_of(model, params, [size] * views, size)
    work = dataclasses.replace(work, chunk=chunk_for(work, 1, free))
    filled = estimate_memory(with_padding(work), *free)
    bucket = bucket_of(views, size, chunk=work.chunk, rounded=filled.fits)
    return bucket, filled if filled.fits else estimate_memory(work, *free)


def _seconds_needed(row: Reconstruction, last: Reconstruction | None) -> float:
    """Estimated seconds to compile and call once, from the last measurement."""
    if last is None or last.compile_seconds is None or last.first_seconds is None:
        return 0.0
    return last.compile_seconds + last.first_seconds * row.program_views / last.program_views


def _measured(
    row: Reconstruction, model: Model, params: Any, bucket: Bucket, left: Callable[[], float]
) -> Reconstruction:
    earlier_peak = allocator_peak()
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
        peak_bytes=None if peak == earlier_peak else peak,
    )


def _call(program: Program, params: Any, views: Views) -> float:
    """Seconds until the predictions are on the host."""
    start = time.perf_counter()
    program.run(params, views, lambda done, total: None)
    return time.perf_counter() - start


def random_views(bucket: Bucket, views: int) -> Views:
    """A few random images, repeated, on the host; padded with black images to the bucket."""
    shape = (bucket.height, bucket.width, 3)
    size = (min(views, _DISTINCT_IMAGES), *shape)
    distinct = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    images = np.zeros((1, bucket.views, *shape), np.uint8)
    for i in range(views):
        images[0, i] = distinct[i % len(distinct)]
    return Views(images, np.arange(bucket.views)[None] < views)  # pyright: ignore[reportArgumentType]
