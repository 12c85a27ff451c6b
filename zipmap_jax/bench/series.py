"""Configuration, measurement and result of `zipmap bench runtime`."""

from __future__ import annotations

import dataclasses
import itertools
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from zipmap_jax import __version__
from zipmap_jax.bench.matmul import MatmulPeak, matmul_peak
from zipmap_jax.bench.published import published
from zipmap_jax.bench.runtime import Effort, RuntimeRow, even_chunk, measure
from zipmap_jax.bench.task import Task
from zipmap_jax.models.config import Mixer
from zipmap_jax.nn.config import POLICIES


@dataclasses.dataclass(frozen=True)
class RuntimeConfig:
    """Calls to measure.

    Attributes:
      preset, size, heads: as for `Task`.
      views: numbers of views of the offline calls, in this order; empty = none.
      mixers: mixers of the offline calls.
      streaming: measure one streamed frame.
      query: measure one queried view.
      dtype: "fp32" or "bf16".
      chunk: views per chunk; None = even chunks of at most 16.
    """

    preset: str = "large"
    views: tuple[int, ...] = ()
    size: tuple[int, int] = (392, 518)
    heads: tuple[str, ...] = ("camera", "depth")
    mixers: tuple[Mixer, ...] = ("fast_weights",)
    streaming: bool = False
    query: bool = False
    dtype: str = "fp32"
    chunk: int | None = None

    def series(self) -> dict[str, list[Task]]:
        """The calls by series."""
        policy = POLICIES[self.dtype]
        base = Task(self.preset, policy, self.size, heads=self.heads)
        out: dict[str, list[Task]] = {}
        if self.streaming:
            out["streaming"] = [dataclasses.replace(base, kind="streaming")]
        if self.query:
            out["query"] = [dataclasses.replace(base, kind="query")]
        for mixer in self.mixers if self.views else ():
            out[mixer] = [
                dataclasses.replace(
                    base, views=views, mixer=mixer, chunk=self.chunk or even_chunk(views)
                )
                for views in dict.fromkeys(self.views)
            ]
        return out


@dataclasses.dataclass(frozen=True)
class Line:
    """`seconds = intercept + slope * views`.

    Attributes:
      r2: coefficient of determination.
    """

    intercept: float
    slope: float
    r2: float


def fit_line(views: Sequence[int], seconds: Sequence[float]) -> Line | None:
    """Least-squares line; None for fewer than three different numbers of views."""
    from scipy.stats import linregress

    if len(set(views)) < 3:
        return None
    if len(set(seconds)) == 1:
        return Line(seconds[0], 0.0, 1.0)
    fit: Any = linregress(views, seconds)
    return Line(float(fit.intercept), float(fit.slope), float(fit.rvalue) ** 2)


@dataclasses.dataclass(frozen=True)
class MemoryGrowth:
    """Bytes that each view adds to a call.

    Attributes:
      few, many: numbers of views of the two compared calls.
      program, planned: bytes per view in the compiled programs and in the estimates.
    """

    few: int
    many: int
    program: float
    planned: float


@dataclasses.dataclass(frozen=True)
class RuntimeResult:
    """A complete or partial measurement.

    Attributes:
      config: calls to measure.
      machine: device and versions.
      peak: rate of a matrix product in the same run.
      rows: rows in the order of measurement.
      notes: remarks for the reader.
    """

    config: RuntimeConfig
    machine: dict[str, Any]
    peak: MatmulPeak | None
    rows: tuple[RuntimeRow, ...] = ()
    notes: tuple[str, ...] = ()

    def line(self, series: str) -> Line | None:
        """Line through the seconds of a series."""
        rows = self.measured(series)
        return fit_line([row.views for row in rows], [row.seconds or 0.0 for row in rows])

    def measured(self, series: str) -> list[RuntimeRow]:
        """Measured rows of a series, sorted by number of views."""
        rows = (row for row in self.rows if row.series == series and row.seconds is not None)
        return sorted(rows, key=lambda row: row.views)

    def growth(self, series: str) -> MemoryGrowth | None:
        """Bytes per view between the two largest neighbouring calls with equal chunks."""
        calls = [
            (row.views, row.program.total, row.planned_bytes, row.chunk)
            for row in self.measured(series)
            if row.program and row.planned_bytes
        ]
        pairs = itertools.pairwise(reversed(calls))
        pair = next(((few, many) for many, few in pairs if few[3] == many[3]), None)
        if pair is None:
            return None
        few, many = pair
        views = many[0] - few[0]
        return MemoryGrowth(few[0], many[0], (many[1] - few[1]) / views, (many[2] - few[2]) / views)

    @property
    def names(self) -> list[str]:
        """Series in the order of their first row."""
        return list(dict.fromkeys(row.series for row in self.rows))

    def as_dict(self) -> dict[str, Any]:
        """All values, for JSON."""
        lines = {name: line for name in self.names if (line := self.line(name))}
        growths = {name: growth for name in self.names if (growth := self.growth(name))}
        return {
            "config": dataclasses.asdict(self.config),
            "machine": self.machine,
            "matmul_peak": dataclasses.asdict(self.peak) if self.peak else None,
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "fits": {name: dataclasses.asdict(line) for name, line in lines.items()},
            "bytes_per_view": {name: dataclasses.asdict(g) for name, g in growths.items()},
            "attention_over_fast_weights": self.ratios("attention", "fast_weights"),
            "published_seconds": published(self.config.preset, self.config.size),
            "notes": self.notes,
        }

    def ratios(self, slow: str, fast: str) -> dict[int, float]:
        """Seconds of one series over those of another, by number of views."""
        base = {row.views: row.seconds for row in self.measured(fast)}
        return {
            row.views: row.seconds / seconds
            for row in self.measured(slow)
            if row.seconds and (seconds := base.get(row.views))
        }


def machine() -> dict[str, Any]:
    """Device and versions of this process."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "platform": device.platform,
        "zipmap-jax": __version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    """Name of the CPU and its number of cores."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def run(
    config: RuntimeConfig,
    effort: Effort,
    on_result: Callable[[RuntimeResult], None],
    rows: Sequence[RuntimeRow] = (),
    notes: Sequence[str] = (),
) -> RuntimeResult:
    """Measure every series.

    Args:
      config: calls to measure.
      effort: time limits.
      on_result: called with the result so far, before the first row and after each row.
      rows, notes: earlier rows and notes, such as those of a PyTorch model.
    """
    series = config.series()  # invalid configurations raise before the first measurement
    policy = POLICIES[config.dtype]
    peak = matmul_peak(policy.compute, policy.precision)
    result = RuntimeResult(config, machine(), peak, tuple(rows), tuple(notes))
    on_result(result)
    for name, tasks in series.items():
        for row in measure(name, tasks, peak, effort):
            result = dataclasses.replace(result, rows=(*result.rows, row))
            on_result(result)
    return result
