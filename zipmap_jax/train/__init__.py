"""Training: the step, its state, sharding, checkpoints and the loop.

`train.py` composes these parts; configurations, batches, metrics and plans are in the sub-packages
`config`, `batches`, `log` and `plan`. The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.train.checkpoint import Checkpoints
    from zipmap_jax.train.compiled_step import CompiledStep, objective
    from zipmap_jax.train.initial_weights import model_of, new_state, open_start, state_shapes
    from zipmap_jax.train.loop import both_weights, train
    from zipmap_jax.train.preemption import Stop, stop_on_signals
    from zipmap_jax.train.query import query_scene_loss
    from zipmap_jax.train.resume import begin
    from zipmap_jax.train.sharding import batch_shardings, make_mesh, shardings
    from zipmap_jax.train.state import TrainState, initial_state
    from zipmap_jax.train.step import Batch, Metrics, scene_loss, train_step

_HOMES = {
    "Batch": "zipmap_jax.train.step",
    "Checkpoints": "zipmap_jax.train.checkpoint",
    "CompiledStep": "zipmap_jax.train.compiled_step",
    "Metrics": "zipmap_jax.train.step",
    "Stop": "zipmap_jax.train.preemption",
    "TrainState": "zipmap_jax.train.state",
    "batch_shardings": "zipmap_jax.train.sharding",
    "begin": "zipmap_jax.train.resume",
    "both_weights": "zipmap_jax.train.loop",
    "initial_state": "zipmap_jax.train.state",
    "make_mesh": "zipmap_jax.train.sharding",
    "model_of": "zipmap_jax.train.initial_weights",
    "new_state": "zipmap_jax.train.initial_weights",
    "objective": "zipmap_jax.train.compiled_step",
    "open_start": "zipmap_jax.train.initial_weights",
    "query_scene_loss": "zipmap_jax.train.query",
    "scene_loss": "zipmap_jax.train.step",
    "shardings": "zipmap_jax.train.sharding",
    "state_shapes": "zipmap_jax.train.initial_weights",
    "stop_on_signals": "zipmap_jax.train.preemption",
    "train": "zipmap_jax.train.loop",
    "train_step": "zipmap_jax.train.step",
}

__all__ = [
    "Batch",
    "Checkpoints",
    "CompiledStep",
    "Metrics",
    "Stop",
    "TrainState",
    "batch_shardings",
    "begin",
    "both_weights",
    "initial_state",
    "make_mesh",
    "model_of",
    "new_state",
    "objective",
    "open_start",
    "query_scene_loss",
    "scene_loss",
    "shardings",
    "state_shapes",
    "stop_on_signals",
    "train",
    "train_step",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.train' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
