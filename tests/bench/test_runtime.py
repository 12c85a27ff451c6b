"""Rows of a measurement: numbers, lack of memory, lack of time."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import pytest

from zipmap_jax.bench import runtime
from zipmap_jax.bench.matmul import MatmulPeak
from zipmap_jax.bench.runtime import OUT_OF_TIME, Effort, RuntimeRow, measure, with_timing
from zipmap_jax.bench.task import Task
from zipmap_jax.bench.timing import Timing
from zipmap_jax.bench.weights import random_params
from zipmap_jax.compilation.memory import ProgramMemory
from zipmap_jax.config_io import from_json, to_json
from zipmap_jax.nn.config import FP32

TASK = Task("tiny", FP32, (56, 56))
PEAK = MatmulPeak(4e12, 8, "float32", "highest")


def tasks(*views: int) -> list[Task]:
    return [dataclasses.replace(TASK, views=count) for count in views]


@pytest.fixture
def fake(monkeypatch):
    """Replace measurements; calls of more than 10 views run out of memory."""
    tried = []

    def measured(row, task, params, peak, effort):
        tried.append(task.views)
        if task.views > 10:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes\nmore")
        return dataclasses.replace(row, seconds=float(task.views), compile_seconds=5.0)

    monkeypatch.setattr(runtime, "_measured", measured)
    monkeypatch.setattr(runtime, "random_params", lambda model: {})
    return tried


def test_larger_calls_are_skipped_after_a_lack_of_memory(fake):
    rows = list(measure("x", tasks(5, 20, 50, 2)))
    assert [row.seconds for row in rows] == [5.0, None, None, 2.0]
    assert rows[1].missing == "does not fit: RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes"
    assert rows[2].missing == "does not fit: 20 views do not"
    assert fake == [5, 20, 2]


def test_the_estimate_prevents_calls_beyond_all_memory(fake, monkeypatch):
    monkeypatch.setattr(runtime, "free_memory", lambda: (None, 10**6))
    (row,) = measure("x", tasks(5))
    assert row.missing.startswith("does not fit: memory for 5 views at 56x56")
    assert not fake


def test_other_errors_are_raised(fake, monkeypatch):
    def broken(*_):
        raise RuntimeError("INTERNAL: no")

    monkeypatch.setattr(runtime, "_measured", broken)
    with pytest.raises(RuntimeError, match="INTERNAL"):
        list(measure("x", tasks(5)))


def test_rows_without_time_are_not_started(fake):
    # Compiling takes 5 s and a view 1 s, so 4 views need 5 + 2 x 4 s.
    left = itertools.chain([30.0, 12.0], itertools.repeat(15.0))
    rows = list(measure("x", tasks(2, 4, 4), effort=Effort(left=lambda: next(left))))
    assert [row.missing for row in rows] == ["", OUT_OF_TIME, ""]


def test_rates_follow_from_seconds():
    row = with_timing(RuntimeRow("x", 3), Timing((2.0, 1.0, 4.0)), 2e12, PEAK)
    assert (row.seconds, row.fastest, row.slowest, row.repeats) == (2.0, 1.0, 4.0, 3)
    assert (row.tflop, row.tflops, row.share_of_peak) == (2.0, 1.0, 0.25)
    assert with_timing(RuntimeRow("x", 3), Timing((2.0,)), 2e12, None).share_of_peak is None


def test_rows_round_trip_through_json():
    row = RuntimeRow("x", 3, 2, seconds=1.0, program=ProgramMemory(1, 2, 3, 6))
    assert from_json(RuntimeRow, to_json(row)) == row
    assert from_json(RuntimeRow, to_json(RuntimeRow("x", 3))) == RuntimeRow("x", 3)


def test_random_weights_have_the_shapes_and_the_magnitude_of_trained_ones(micro):
    model = Task(micro, FP32, (28, 42)).model
    params = random_params(model)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), params) == jax.tree.map(
        lambda x: (x.shape, x.dtype), shapes
    )
    kernel = params["frame_blocks"]["mlp"]["fc1"]["kernel"]
    assert float(kernel.std()) == pytest.approx(kernel.shape[-2] ** -0.5, rel=0.1)
    assert float(abs(kernel[0, 0]).max()) != float(abs(kernel[1, 0]).max())


@pytest.mark.parametrize("kind", ["offline", "streaming", "query"])
def test_every_kind_of_call_is_measured(micro, kind):
    task = Task(micro, FP32, (28, 42), 3 if kind == "offline" else 1, kind)
    (row,) = measure(kind, [task], PEAK, Effort(repeats=2, warm_up=1))
    assert row.missing == ""
    assert row.seconds is not None
    assert row.seconds > 0
    assert row.repeats == 2
    assert row.program is not None
    assert row.program.total >= row.program.arguments > 0
    assert (row.planned_bytes is None) == (kind != "offline")
    assert row.tflop == pytest.approx(task.flops() / 1e12)
    assert row.peak_bytes is None  # the CPU has no allocator statistics
