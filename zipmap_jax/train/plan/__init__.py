"""The plan of a run (`train.py --dry-run`): steps, shapes, memory and obstacles.

The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.train.plan.compiled_memory import StepMemory, dry_run, training_memory
    from zipmap_jax.train.plan.plan import TrainingPlan, plan_run
    from zipmap_jax.train.plan.shapes import batch_shapes, shape_shares

__all__ = [
    "StepMemory",
    "TrainingPlan",
    "batch_shapes",
    "dry_run",
    "plan_run",
    "shape_shares",
    "training_memory",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
