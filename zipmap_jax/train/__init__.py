"""Training: the step, its state, sharding, checkpoints and the loop.

`train.py` composes these parts; configurations, batches, metrics and plans are in the sub-packages
`config`, `batches`, `log` and `plan`. The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, __file__)
