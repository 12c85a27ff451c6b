"""Seconds, memory and arithmetic of a forward call against the number of views.

The protocol is that of the published table (batch 1, all heads that are on, images on the device
already, nothing after the call), with three differences: images and weights are random instead of
zero, which a GPU computes faster than it should; the median is reported with its spread; the time
to compile stands apart.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from zipmap_jax.bench.matmul import MatmulPeak
from zipmap_jax.bench.task import Task, random_inputs
from zipmap_jax.bench.timing import Timing, timed
from zipmap_jax.bench.weights import random_params
from zipmap_jax.compilation.memory import ProgramMemory, program_memory
from zipmap_jax.errors import is_out_of_memory
from zipmap_jax.inference.memory import (
    device_bytes,
    estimate_memory,
    free_memory,
    workload_of,
)
from zipmap_jax.models.api import Workload

OUT_OF_TIME = "not measured: no time left"


@dataclasses.dataclass(frozen=True)
class RuntimeRow:
    """One measured call; everything after `missing` is None where it was not measured.

    Attributes:
      series: what was measured, such as "fast_weights", "attention", "streaming", "torch".
      views: of the call.
      chunk: views worked on at a time.
      missing: why there is no measurement, such as "does not fit"; empty when there is one.
      seconds, fastest, slowest, repeats: median and range of how many calls.
      compile_seconds: to lower and compile.
      peak_bytes: high-water mark of the device's allocator; None where an earlier, larger call
        of the process had set it already, and on the CPU.
      program: bytes planned by the compiler.
      planned_bytes: expected before anything is compiled, of an offline call.
      tflop: arithmetic of the call, in 1e12 operations.
      tflops: per second.
      share_of_peak: of the matrix product's rate in the same run.
    """

    series: str
    views: int
    chunk: int | None = None
    missing: str = ""
    seconds: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    repeats: int | None = None
    compile_seconds: float | None = None
    peak_bytes: int | None = None
    program: ProgramMemory | None = None
    planned_bytes: int | None = None
    tflop: float | None = None
    tflops: float | None = None
    share_of_peak: float | None = None


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much time a measurement may take.

    Attributes:
      repeats, warm_up: calls.
      row_seconds: after which no further call of a row starts.
      left: seconds left for everything; rows that would take longer are not started.
    """

    repeats: int = 10
    warm_up: int = 2
    row_seconds: float = 120.0
    left: Callable[[], float] = lambda: math.inf


def even_chunk(views: int, largest: int = 16) -> int | None:
    """Views at a time such that all chunks are alike and none exceeds `largest`; None = all."""
    chunks = math.ceil(views / largest)
    return None if chunks == 1 else math.ceil(views / chunks)


def measure(
    series: str, tasks: list[Task], peak: MatmulPeak | None = None, effort: Effort | None = None
) -> Iterator[RuntimeRow]:
    """Measure calls of one model, in the order given.

    Where one does not fit, larger ones are not tried.

    Args:
      series: name of the rows.
      tasks: alike but for views and chunk.
      peak: what the arithmetic is held against.
      effort: repeats and time.
    """
    effort = effort or Effort()
    params, before, too_many = None, None, math.inf
    for task in tasks:
        row = RuntimeRow(series, task.views, task.chunk)
        reason = _no_time(task, before, effort)
        if not reason and task.views >= too_many:
            reason = f"does not fit: {too_many} views do not"
        if not reason and (reason := _no_memory(task)):
            too_many = min(too_many, task.views)
        if not reason:
            try:
                params = random_params(task.model) if params is None else params
                before = row = _measured(row, task, params, peak, effort)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = "does not fit: " + first_line(error)
                too_many = task.views
        yield dataclasses.replace(row, missing=reason)


def _measured(
    row: RuntimeRow, task: Task, params: Any, peak: MatmulPeak | None, effort: Effort
) -> RuntimeRow:
    mark = allocator_peak()
    start = time.perf_counter()
    compiled = task.trace().lower().compile()
    compile_seconds = time.perf_counter() - start
    timing = timed(
        _call(task, compiled, params), effort.repeats, effort.warm_up, effort.row_seconds
    )
    row = with_timing(row, timing, task.flops(), peak)
    peak_bytes = allocator_peak()
    return dataclasses.replace(
        row,
        compile_seconds=compile_seconds,
        peak_bytes=None if peak_bytes == mark else peak_bytes,
        program=program_memory(compiled),
        planned_bytes=planned_bytes(task) if task.kind == "offline" else None,
    )


def with_timing(
    row: RuntimeRow, timing: Timing, flops: float | None = None, peak: MatmulPeak | None = None
) -> RuntimeRow:
    """The row with its seconds and, where the operations are known, their rate."""
    row = dataclasses.replace(
        row,
        seconds=timing.median,
        fastest=timing.fastest,
        slowest=timing.slowest,
        repeats=len(timing.seconds),
    )
    if flops is None:
        return row
    rate = flops / timing.median
    share = rate / peak.flops if peak else None
    return dataclasses.replace(row, tflop=flops / 1e12, tflops=rate / 1e12, share_of_peak=share)


def _call(task: Task, compiled: Any, params: Any) -> Callable[[], Any]:
    """One forward; a streaming model goes on from the state it has reached."""
    inputs = random_inputs(task)
    if task.kind == "offline":
        return lambda: compiled(params, inputs)
    state = jax.jit(task.model.init_state)(params)
    if task.kind == "query":
        return lambda: compiled(params, state, inputs)
    held = [state]

    def step() -> Any:
        held[0], outputs = compiled(params, held[0], inputs)
        return held[0], outputs

    return step


def allocator_peak() -> int | None:
    """Most bytes the default device has held since the process began; None on the CPU."""
    stats = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    return int(stats["peak_bytes_in_use"]) if stats and "peak_bytes_in_use" in stats else None


def planned_bytes(task: Task) -> int:
    """Bytes on the device that an offline call is expected to take."""
    return device_bytes(_workload(task))


def _no_memory(task: Task) -> str:
    """Where a lack of memory would end the process without a word, the estimate decides."""
    estimate = estimate_memory(_workload(task), *free_memory())
    if not estimate.hopeless:
        return ""
    return f"does not fit: {estimate.text.split(';')[0]}"


def _workload(task: Task) -> Workload:
    params, *_ = task.shapes
    work = workload_of(task.model, params, [task.size] * task.views, task.size, task.chunk)
    return dataclasses.replace(work, whole=True)


def _no_time(task: Task, before: RuntimeRow | None, effort: Effort) -> str:
    """Time for one warm-up and one repeat, and to compile as long as before."""
    if before is None or before.seconds is None or before.compile_seconds is None:
        return "" if effort.left() > 0 else OUT_OF_TIME
    once = before.seconds * task.views / before.views
    need = before.compile_seconds + 2 * once
    return "" if need < effort.left() else OUT_OF_TIME


def first_line(error: BaseException) -> str:
    """What an error says first, for a row."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]
