"""One training step: a pure function from state and batch to state and metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from zipmap_jax.data.batch_arrays import view_axis
from zipmap_jax.errors import UserError
from zipmap_jax.losses import PatchPredictions, target_from_batch, total_loss
from zipmap_jax.structs import Views, map_views
from zipmap_jax.train.linear_probe import read_rays
from zipmap_jax.train.optimizer import (
    apply_update,
    clip_gradients,
    gradient_norms,
    learning_rate,
    update_rule,
    without_frozen_gradients,
)
from zipmap_jax.train.sharding import (
    AXES,
    batch_specs,
    gather,
    mean_and_scatter,
    microbatch_devices,
    shardings,
    specs,
)

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from zipmap_jax.losses import LossConfig
    from zipmap_jax.models.zipmap import ZipMap
    from zipmap_jax.train.config.schema import EmaConfig, TrainConfig
    from zipmap_jax.train.state import TrainState

Batch = dict[str, jax.Array]
"""Arrays by name; `zipmap_jax.data.batch_arrays` declares their axes and types."""
Metrics = dict[str, jax.Array]
LossFn = Callable[[Any, Batch], tuple[jax.Array, Metrics]]
"""`loss(params, batch) -> (objective, named parts)` of one microbatch."""


def scene_loss(model: ZipMap, config: LossConfig, chunk: int | None = None) -> LossFn:
    """Return the objective of one microbatch, whose posed views are zipped from the empty scene.

    With `model.views_axis` every device predicts its share of the views. The loss needs medians and
    quantiles over all views, so every device computes it from gathered predictions.

    Args:
      model: any variant.
      config: weights of the objective.
      chunk: see `ZipMap.update`.

    Raises:
      UserError: the objective has a loss of rendered views.
    """
    if config.views:
        raise UserError(
            f"loss.views is {config.views}, but no views are rendered: set it to 0, or set targets "
            "in data.buckets"
        )
    axis = model.views_axis

    def loss(params: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        images = batch["images"]
        state = model.init_state(params)
        probed = bool(config.matching or config.rays)
        _, prediction, taps = model.forward(
            params, state, Views(images), chunk=chunk, keep_taps=probed
        )
        patches = None
        if probed:
            patches = gather_views(_patch_predictions(model, params, taps, config), axis)
        truth = {name: x for name, x in batch.items() if name != "images"}
        return total_loss(
            gather_views(prediction, axis),
            target_from_batch(gather_views(truth, axis)),
            config,
            patches=patches,
        )

    return loss


def _patch_predictions(
    model: ZipMap, params: Any, taps: Any, config: LossConfig
) -> PatchPredictions:
    tokens = taps[..., model.config.special_tokens :, :]
    return PatchPredictions(
        queries_and_keys=model.patch_queries_and_keys(params, taps) if config.matching else None,
        rays=read_rays(params, tokens) if config.rays else None,
    )


def gather_views(arrays: Any, axis: str | None) -> Any:
    """Gather the views of a batch or a record from the devices of a mesh axis.

    Args:
      arrays: a batch, whose view axes `batch_arrays` declares, or a record, whose fields do.
      axis: mesh axis; None = every device has all views.

    Returns:
      The batch or record with all views.
    """
    if axis is None:
        return arrays

    def whole(value: Any, views: int) -> Any:
        return jax.tree.map(lambda x: lax.all_gather(x, axis, axis=views, tiled=True), value)

    if not isinstance(arrays, Mapping):
        return map_views(whole, arrays)
    axes = {name: view_axis(name) for name in arrays}
    return {name: x if (i := axes[name]) is None else whole(x, i) for name, x in arrays.items()}


def train_step(
    state: TrainState,
    batch: Batch,
    steps: int | jax.Array,
    *,
    loss: LossFn,
    config: TrainConfig,
    mesh: Mesh,
) -> tuple[TrainState, Metrics]:
    """Update parameters and moving average with the gradient of one batch.

    If the objective or a gradient norm is not finite, parameters, moments and moving average stay
    unchanged; the step counter, and with it the learning rate, advances.

    Args:
      state: sharded by `sharding.shardings`; donate it when jitting.
      batch: arrays [microbatches, scenes, views, ...], sharded by `sharding.batch_shardings`.
      steps: length of the run; traced, so runs of any length share compiled programs.
      loss: objective of a microbatch, see `scene_loss`.
      config: the run.
      mesh: the devices; results are independent of it up to rounding.

    Returns:
      The next state, and metrics: the parts of the objective, "loss", "lr", "skipped",
      "skipped_in_row" and one "norm/..." per module, before clipping.

    Source: training recipe, sections 5.1-5.3.
    """

    def trained(params: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        return loss(without_frozen_gradients(params, config.optim), batch)

    (objective, parts), grads = mean_gradients(trained, state.params, batch, mesh)
    norms = gradient_norms(grads, config.optim)
    ok = jnp.isfinite(objective)
    for norm in norms.values():
        ok &= jnp.isfinite(norm)

    progress = state.step / steps
    grads = clip_gradients(grads, norms, config.optim)
    direction, opt_state = update_rule(config.optim).update(grads, state.opt_state, state.params)
    params = apply_update(state.params, direction, progress, config.optim)
    ema = moving_average(state.ema, params, state.step, config.ema)

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
    return lax.with_sharding_constraint(new_state, shardings(new_state, mesh)), metrics


def mean_gradients(
    loss: LossFn, params: Any, batch: Batch, mesh: Mesh
) -> tuple[tuple[jax.Array, Metrics], Any]:
    """Means over all microbatches of the objective, its parts and its gradient.

    Every device gathers the parameters, processes its microbatches one after another, and keeps its
    part of the gradient.

    Args:
      loss: objective of a microbatch, see `scene_loss`.
      params: sharded by `sharding.shardings`.
      batch: arrays [microbatches, scenes, views, ...], sharded by `sharding.batch_shardings`.
      mesh: the devices.

    Returns:
      `((objective, parts), gradient)`, the gradient sharded like the parameters.

    Raises:
      UserError: the devices do not divide the microbatches evenly.
    """
    microbatches = {leaf.shape[0] for leaf in batch.values()}
    groups = microbatch_devices(mesh)
    if len(microbatches) != 1 or max(microbatches) % groups:
        raise UserError(
            f"{sorted(microbatches)} microbatches do not divide evenly over {groups} devices: "
            "make data.microbatches a multiple of mesh.data * mesh.fsdp"
        )
    layout = specs(params, mesh)
    gradient = jax.value_and_grad(loss, has_aux=True)

    def on_device(params: Any, batch: Batch) -> tuple[tuple[jax.Array, Metrics], Any]:
        whole = gather(params, layout)
        mean = _mean_over_microbatches(lambda microbatch: gradient(whole, microbatch), batch)
        # Devices that share a scene's views compute the same objective, and each gradient is that
        # of the sum of their copies, so the mean over these devices is correct as well.
        return lax.pmean(mean[0], AXES), mean_and_scatter(mean[1], layout)

    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(layout, batch_specs(batch)),
        out_specs=(PartitionSpec(), layout),
        check_vma=False,
    )(params, batch)


def _mean_over_microbatches(f: Callable[[Batch], Any], batch: Batch) -> Any:
    """Mean of `f` over the leading axis, evaluated one entry after another."""
    number = next(iter(batch.values())).shape[0]
    first = jax.tree.map(lambda x: x[0], batch)
    if number == 1:
        return f(first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(f, first))

    def add(total: Any, microbatch: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, f(microbatch)), None

    total, _ = lax.scan(add, zeros, batch)
    return jax.tree.map(lambda x: x / number, total)


def moving_average(ema: Any, params: Any, step: jax.Array, config: EmaConfig) -> Any:
    """Return the parameters up to `config.start`, then `decay ema + (1 - decay) params`."""
    due = (step - config.start) % config.interval == 0
    keep = jnp.where(due, config.decay, 1.0)
    # As a difference, so that frozen parameters stay bit-identical.
    return jax.tree.map(
        lambda old, new: jnp.where(step <= config.start, new, old + (1 - keep) * (new - old)),
        ema,
        params,
    )
