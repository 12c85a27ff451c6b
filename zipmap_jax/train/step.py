"""One training step: a pure function from state and batch to state and metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.losses import target_from_batch, total_loss
from zipmap_jax.structs import Views
from zipmap_jax.train.optimizer import (
    apply_update,
    clip_gradients,
    gradient_norms,
    learning_rate,
    update_rule,
)

if TYPE_CHECKING:
    from zipmap_jax.losses import LossConfig
    from zipmap_jax.models.zipmap import ZipMap
    from zipmap_jax.train.config import EmaConfig, TrainConfig
    from zipmap_jax.train.state import TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
LossFn = Callable[[Any, Batch], tuple[jax.Array, Metrics]]
"""`loss(params, batch) -> (objective, named parts)`."""


def scene_loss(model: ZipMap, config: LossConfig) -> LossFn:
    """Objective of a batch of posed views with depth, zipped by `model` from the empty scene."""

    def loss(params: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        images = batch["images"]
        state = model.init_state(params, images.shape[0])
        _, prediction = model.update(params, state, Views(images))
        return total_loss(prediction, target_from_batch(batch), config)

    return loss


def train_step(
    state: TrainState, batch: Batch, steps: int | jax.Array, *, loss: LossFn, config: TrainConfig
) -> tuple[TrainState, Metrics]:
    """Forward, backward, clip, AdamW and moving average.

    When the objective or a gradient norm is not finite, parameters, moments and moving average are
    left as they were; the step counter, and with it the learning rate, advances all the same.

    Args:
      state: donate it when jitting.
      batch: arrays with a leading scene axis, divisible by `config.data.slots`.
      steps: length of the run. Traced, so that runs of any length share compiled programs.
      loss: objective, see `scene_loss`.
      config: the run.

    Returns:
      The next state, and metrics: the parts of the objective, "loss", "lr", "skipped" and one
      "norm/..." per clipping unit, before clipping.

    Source: training recipe, sections 5.1-5.3.
    """
    (objective, parts), grads = _gradients(loss, state.params, batch, config.data.slots)
    norms = gradient_norms(grads, config.optim.clip_by)
    ok = jnp.isfinite(objective)
    for norm in norms.values():
        ok &= jnp.isfinite(norm)

    progress = state.step / steps
    grads = clip_gradients(grads, norms, config.optim)
    direction, opt_state = update_rule(config.optim).update(grads, state.opt_state, state.params)
    params = apply_update(state.params, direction, progress, config.optim)
    ema = _moving_average(state.ema, params, state.step, config.ema)

    def accepted(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(ok, a, b), new, old)

    bad = (~ok).astype(jnp.int32)
    new_state = dataclasses.replace(
        state,
        step=state.step + 1,
        params=accepted(params, state.params),
        opt_state=accepted(opt_state, state.opt_state),
        ema=accepted(ema, state.ema),
        skipped=state.skipped + bad,
        skipped_in_row=(state.skipped_in_row + 1) * bad,
    )
    metrics = {
        **parts,
        "loss": objective,
        "lr": learning_rate(progress, config.optim.lr, config.optim),
        "skipped": new_state.skipped,
        "skipped_in_row": new_state.skipped_in_row,
        **{f"norm/{unit}": norm for unit, norm in norms.items()},
    }
    return new_state, metrics


def _gradients(
    loss: LossFn, params: Any, batch: Batch, slots: int
) -> tuple[tuple[jax.Array, Metrics], Any]:
    """Value, parts and gradient of the objective, averaged over slots run one by one."""
    gradient = jax.value_and_grad(loss, has_aux=True)
    if slots == 1:
        return gradient(params, batch)
    scenes = next(iter(batch.values())).shape[0]
    if scenes % slots:
        raise ValueError(
            f"a batch of {scenes} scenes cannot be cut into {slots} equal slots: "
            "change the bucket's batch or data.slots"
        )
    cut = jax.tree.map(lambda x: x.reshape(slots, -1, *x.shape[1:]), batch)
    shapes = jax.eval_shape(gradient, params, jax.tree.map(lambda x: x[0], cut))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total: Any, part: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradient(params, part)), None

    total, _ = jax.lax.scan(add, zeros, cut)
    return jax.tree.map(lambda x: x / slots, total)


def _moving_average(ema: Any, params: Any, step: jax.Array, config: EmaConfig) -> Any:
    """A copy of the parameters up to `config.start`, then `decay ema + (1 - decay) params`."""
    due = (step - config.start) % config.interval == 0
    keep = jnp.where(due, config.decay, 1.0)
    keep = jnp.where(step <= config.start, 0.0, keep)
    return jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, ema, params)
