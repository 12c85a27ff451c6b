"""Seconds, memory and arithmetic of a forward call against the number of views.

The protocol is that of the published table (batch 1, all active heads, images on the device,
nothing after the call), with three differences: images and weights are random, as GPUs compute
faster on zeros; the median is reported with its range; compilation time is separate.
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
    """Measurement of one call; fields after `missing` are None if not measured.

    Attributes:
      series: kind of call, such as "fast_weights", "attention", "streaming", "torch".
      views: number of views of the call.
      chunk: views per chunk.
      missing: reason why the measurement is missing, such as "does not fit"; empty if it exists.
      seconds, fastest, slowest, repeats: median, range and number of calls.
      compile_seconds: time to trace, lower and compile.
      peak_bytes: peak of the device's allocator; None on the CPU, and where a larger earlier call
        of the process set the peak.
      program: bytes planned by the compiler.
      planned_bytes: bytes estimated before compilation, for offline calls.
      tflop: operations of the call, in 1e12.
      tflops: operations per second, in 1e12.
      share_of_peak: rate relative to that of a matrix product in the same run.
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
    """Time limits of a measurement.

    Attributes:
      repeats, warm_up: number of timed calls, and of calls before them.
      row_seconds: seconds after which no further call of a row starts.
      left: function that returns the seconds left; rows that would take longer are skipped.
    """

    repeats: int = 10
    warm_up: int = 2
    row_seconds: float = 120.0
    left: Callable[[], float] = lambda: math.inf


def even_chunk(views: int, largest: int = 16) -> int | None:
    """Views per chunk for even chunks of at most `largest` views; None = all."""
    chunks = math.ceil(views / largest)
    return None if chunks == 1 else math.ceil(views / chunks)


def measure(
    series: str, tasks: list[Task], peak: MatmulPeak | None = None, effort: Effort | None = None
) -> Iterator[RuntimeRow]:
    """Measure calls of one model in order; after a call that does not fit, larger ones are skipped.

    Args:
      series: name of the rows.
      tasks: calls that differ in views and chunk only.
      peak: matrix product to compare the rate with.
      effort: time limits.
    """
    effort = effort or Effort()
    params, last, too_many = None, None, math.inf
    for task in tasks:
        row = RuntimeRow(series, task.views, task.chunk)
        reason = _no_time(task, last, effort)
        if not reason and task.views >= too_many:
            reason = f"does not fit: {too_many} views do not"
        if not reason and (reason := _no_memory(task)):
            too_many = min(too_many, task.views)
        if not reason:
            try:
                params = random_params(task.model) if params is None else params
                last = row = _measured(row, task, params, peak, effort)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = "does not fit: " + first_line(error)
                too_many = task.views
        yield dataclasses.replace(row, missing=reason)


def _measured(
    row: RuntimeRow, task: Task, params: Any, peak: MatmulPeak | None, effort: Effort
) -> RuntimeRow:
    earlier_peak = allocator_peak()
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
        peak_bytes=None if peak_bytes == earlier_peak else peak_bytes,
        program=program_memory(compiled),
        planned_bytes=planned_bytes(task) if task.kind == "offline" else None,
    )


def with_timing(
    row: RuntimeRow, timing: Timing, flops: float | None = None, peak: MatmulPeak | None = None
) -> RuntimeRow:
    """The row with its seconds and, if `flops` is given, its rate."""
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
    """One forward call; a streaming model continues from its last state."""
    inputs = random_inputs(task)
    if task.kind == "offline":
        return lambda: compiled(params, inputs)
    state = jax.jit(task.model.init_state)(params)
    if task.kind == "query":
        return lambda: compiled(params, state, inputs)
    current = [state]

    def step() -> Any:
        current[0], outputs = compiled(params, current[0], inputs)
        return current[0], outputs

    return step


def allocator_peak() -> int | None:
    """Peak bytes on the default device since the process started; None on the CPU."""
    stats = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    return int(stats["peak_bytes_in_use"]) if stats and "peak_bytes_in_use" in stats else None


def planned_bytes(task: Task) -> int:
    """Estimated bytes on the device for an offline call."""
    return device_bytes(_workload(task))


def _no_memory(task: Task) -> str:
    """Reason if the estimate rules out a call that would get the process killed, else empty."""
    estimate = estimate_memory(_workload(task), *free_memory())
    return f"does not fit: {estimate.text.split(';')[0]}" if estimate.hopeless else ""


def _workload(task: Task) -> Workload:
    params, *_ = task.shapes
    work = workload_of(task.model, params, [task.size] * task.views, task.size, task.chunk)
    return dataclasses.replace(work, whole=True)


def _no_time(task: Task, last: RuntimeRow | None, effort: Effort) -> str:
    """Reason if the time left does not suffice to compile and call twice, else empty."""
    if last is None or last.seconds is None or last.compile_seconds is None:
        return "" if effort.left() > 0 else OUT_OF_TIME
    call = last.seconds * task.views / last.views
    needed = last.compile_seconds + 2 * call
    return "" if needed < effort.left() else OUT_OF_TIME


def first_line(error: BaseException) -> str:
    """First line of an error's message, at most 200 characters."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]
