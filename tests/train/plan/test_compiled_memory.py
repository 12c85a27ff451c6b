"""Memory of the largest compiled steps."""

from __future__ import annotations

import dataclasses

import pytest

from tests.train.plan.test_plan import TINY
from zipmap_jax.data.config import BatchShape
from zipmap_jax.train.plan import compiled_memory
from zipmap_jax.train.plan.compiled_memory import (
    StepMemory,
    dry_run,
    target_device,
    too_large,
    training_memory,
)
from zipmap_jax.train.plan.plan import GIB, plan_run

LARGE = BatchShape(2, 42, 42, batch=2)


@pytest.mark.slow
def test_the_largest_steps_are_compiled() -> None:
    data = dataclasses.replace(TINY.data, buckets=(BatchShape(1, 28, 28), LARGE))
    config = dataclasses.replace(TINY, data=data)
    (step,) = training_memory(config, target_device("here"))
    assert step.bucket == LARGE
    assert str(step).startswith("2 views x 2 of 42x42: working memory 0.")
    memory = plan_run(config, 1).memory
    held = sum(memory[name] for name in ("parameters", "moments", "moving average"))
    assert held < step.state < 1.1 * held + memory["largest batch"]
    assert step.working > memory["parameters"]


def test_a_step_that_does_not_fit_is_a_problem() -> None:
    plan = plan_run(TINY, 1)
    step = StepMemory(LARGE, state=GIB, working=100 * GIB)
    (problem,) = too_large(plan, step, limit=80 * GIB)
    assert problem.startswith("a step of 2 views x 2 of 42x42 needs 100.0 GiB of the 80.0 GiB of")
    assert "--remat true" in problem
    assert too_large(plan, step, limit=101 * GIB) == []
    assert too_large(plan, step, limit=None) == []


def test_the_compiler_decides_what_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    step = StepMemory(LARGE, state=GIB, working=200 * GIB)
    monkeypatch.setattr(compiled_memory, "target_device", lambda target: object())
    monkeypatch.setattr(compiled_memory, "training_memory", lambda config, device: iter([step]))
    *_, title, line, end = dry_run(TINY, 1, "h200")
    assert title == "compiled, one microbatch on one device (h200):"
    assert line == f"  {step}"
    assert "needs 200.0 GiB of the 140.4 GiB of a device" in end
    *_, end = dry_run(TINY, 1)
    assert end == "ready to start"
