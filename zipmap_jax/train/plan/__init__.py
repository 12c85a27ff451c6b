"""The plan of a run (`train.py --dry-run`): steps, shapes, memory and obstacles.

The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.train.plan.compiled_memory import StepMemory, dry_run, training_memory
    from zipmap_jax.train.plan.plan import TrainingPlan, plan_run
    from zipmap_jax.train.plan.shapes import batch_shapes, shape_shares

_HOMES = {
    "StepMemory": "zipmap_jax.train.plan.compiled_memory",
    "TrainingPlan": "zipmap_jax.train.plan.plan",
    "batch_shapes": "zipmap_jax.train.plan.shapes",
    "dry_run": "zipmap_jax.train.plan.compiled_memory",
    "plan_run": "zipmap_jax.train.plan.plan",
    "shape_shares": "zipmap_jax.train.plan.shapes",
    "training_memory": "zipmap_jax.train.plan.compiled_memory",
}

__all__ = [
    "StepMemory",
    "TrainingPlan",
    "batch_shapes",
    "dry_run",
    "plan_run",
    "shape_shares",
    "training_memory",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.train.plan' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
