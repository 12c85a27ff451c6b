"""The compiled training step: one program for every batch shape."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.compilation.flops import flops_of
from zipmap_jax.convert.perceptual import read_perceptual
from zipmap_jax.losses import colour_note
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import POLICIES
from zipmap_jax.train.distributed import wait_for_all
from zipmap_jax.train.query import query_scene_loss
from zipmap_jax.train.sharding import VIEWS
from zipmap_jax.train.step import scene_loss, train_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax.sharding import Mesh

    from zipmap_jax.train.config.schema import TrainConfig
    from zipmap_jax.train.state import TrainState
    from zipmap_jax.train.step import Batch, LossFn, Metrics


class CompiledStep:
    """`step(state, batch)` runs one training step; every batch shape is compiled at its first use.

    Args:
      config: the run.
      mesh: its devices.
    """

    def __init__(self, config: TrainConfig, mesh: Mesh) -> None:
        self._config, self._mesh = config, mesh
        folder = config.loss.perceptual_weights
        self._perceptual = read_perceptual(folder) if folder else None
        self._steps = np.int32(config.steps)
        self._step = jax.jit(
            functools.partial(step_of_run, config=config, mesh=mesh), donate_argnames="state"
        )
        self._programs: dict[tuple[Any, ...], tuple[Any, float]] = {}

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        self.compile(state, batch)
        compiled, _ = self._programs[_shapes(batch)]
        return compiled(state, batch, self._steps, self._perceptual)

    def compile(self, state: TrainState, batch: Any) -> None:
        """Compile for a state and batch (arrays, or shapes with shardings), unless done before."""
        key = _shapes(batch)
        if key not in self._programs:
            compiled = self.trace(state, batch).lower().compile()
            self._programs[key] = compiled, self.count_flops(state, batch)
            # A process that starts a step long before the others runs into their timeout.
            wait_for_all(f"compiled {len(self._programs)}")

    def trace(self, state: TrainState, batch: Any) -> Any:
        """Trace the step for a state and batch, or their shapes (`jax.stages.Traced`)."""
        return self._step.trace(state, batch, self._steps, self._perceptual)

    def count_flops(self, state: TrainState, batch: Any) -> float:
        """Floating-point operations of a step on all devices, without recomputation by `remat`."""
        step = self._step
        if self._config.remat:
            stored = dataclasses.replace(self._config, remat=False)
            step = jax.jit(functools.partial(step_of_run, config=stored, mesh=self._mesh))
        return flops_of(step.trace(state, batch, self._steps, self._perceptual))

    def compile_all(self, state: TrainState, source: Any, report: Callable[[str], None]) -> None:
        """Compile every batch shape of the run; `report` receives one line per program."""
        buckets = [bucket for bucket in self._config.data.buckets if bucket.weight > 0]
        for number, bucket in enumerate(buckets, 1):
            start = time.monotonic()
            self.compile(state, source.shapes(bucket))
            seconds = time.monotonic() - start
            report(f"compiled {number} of {len(buckets)} batch shapes in {seconds:.0f} s")

    @property
    def notes(self) -> list[str]:
        """Lines for the user about compilation and losses."""
        buckets = self._config.data.buckets
        moment = "before the first step" if self._config.compile_ahead else "at its first use"
        notes = [f"{len(buckets)} batch shapes; each compiles {moment}"]
        if any(bucket.targets for bucket in buckets):
            notes.append(colour_note(self._config.loss))
        return notes

    def flops(self, batch: Batch) -> float:
        """Return the floating-point operations of a step with a compiled batch shape."""
        return self._programs[_shapes(batch)][1]


def objective(config: TrainConfig, views_axis: str | None, perceptual: Any = None) -> LossFn:
    """Return the objective of a run, of input views and, for state queries, rendered views.

    Args:
      config: model and losses.
      views_axis: see `ZipMap`.
      perceptual: weights of LPIPS.
    """
    model = ZipMap(config.model, POLICIES[config.policy], config.remat, views_axis)
    if any(bucket.targets for bucket in config.data.buckets):
        return query_scene_loss(model, config.loss, perceptual, config.chunk or None)
    return scene_loss(model, config.loss, config.chunk or None)


def step_of_run(
    state: TrainState,
    batch: Batch,
    steps: jax.Array,
    perceptual: Any,
    *,
    config: TrainConfig,
    mesh: Mesh,
) -> tuple[TrainState, Metrics]:
    """Run `train_step` with the objective of the run; the weights of LPIPS stay an argument."""
    axis = VIEWS if mesh.shape[VIEWS] > 1 else None
    loss = objective(config, axis, perceptual)
    return train_step(state, batch, steps, loss=loss, config=config, mesh=mesh)


def _shapes(batch: Any) -> tuple[Any, ...]:
    return tuple((name, leaf.shape) for name, leaf in sorted(batch.items()))
