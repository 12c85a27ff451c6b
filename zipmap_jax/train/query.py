"""Objective of state queries: some views of a scene are zipped, others rendered from the state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.data.batch_arrays import POSED_VIEWS, TARGET
from zipmap_jax.errors import UserError
from zipmap_jax.geometry import query_frame, ray_conditions
from zipmap_jax.losses import (
    PatchPredictions,
    query_targets_from_batch,
    target_from_batch,
    total_loss,
)
from zipmap_jax.structs import Views, axes, record
from zipmap_jax.train.linear_probe import read_patches, read_rays
from zipmap_jax.train.step import gather_views

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.losses import LossConfig
    from zipmap_jax.models.zipmap import ZipMap
    from zipmap_jax.train.step import Batch, LossFn, Metrics


def query_rays(batch: Mapping[str, Any]) -> Float[Array, "b q h w 9"]:
    """Compute the ray conditions of the target views.

    The world is the first zipped view's frame. Its unit is the largest absolute coordinate of the
    zipped views' centres, which differs from the unit of the depth.

    Args:
      batch: result of `split_batch`.

    Source: training recipe, section 3.2.
    """
    _, rendered, _ = query_frame(batch["w2c"], batch["target_w2c"])
    height, width = batch["target_images"].shape[2:4]
    return ray_conditions(rendered, batch["target_intrinsics"], (height, width))


def query_scene_loss(
    model: ZipMap,
    config: LossConfig,
    perceptual: Mapping[str, Any] | None = None,
    chunk: int | None = None,
) -> LossFn:
    """Return the objective of a split batch: zip its views, then render the target views.

    Args:
      model: a state-query model.
      config: weights of the objective.
      perceptual: weights of LPIPS. Pass these 15 million numbers as an argument of the jitted
        function; otherwise they become constants of the program.
      chunk: see `ZipMap.update`.

    Returns:
      `loss(params, batch) -> (objective, named parts)`.

    Raises:
      UserError: the rays of the objective use another frame than those of rendered views.
    """
    if config.rays and config.rays_frame != "first":
        raise UserError(
            "rendered rays use the first camera's frame, but loss.rays_frame is "
            f"{config.rays_frame!r}: set it to 'first'"
        )
    axis = model.views_axis

    def loss(params: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        images, state = Views(batch["images"]), model.init_state(params)
        whole = gather_views(batch, axis)
        rays = query_rays({**batch, "w2c": whole["w2c"]})
        patches, probed = None, bool(config.matching or config.rays or config.views)
        state, prediction, zipped = model.forward(
            params, state, images, chunk=chunk, keep_taps=probed
        )
        rendered, taps = model.forward_rays(params, state, rays, chunk=chunk, keep_taps=probed)
        if probed:
            outputs = _patch_outputs(model, params, zipped, taps, config)
            patches = _patch_predictions(gather_views(outputs, axis), whole)
        prediction, rendered = gather_views(prediction, axis), gather_views(rendered, axis)
        target, truth = query_targets_from_batch(whole)
        return total_loss(prediction, target, config, (rendered, truth), perceptual, patches)

    return loss


@record
class _PatchOutputs:
    """Linear outputs of the patches of zipped and rendered views; None = not in the objective.

    Attributes:
      zipped, rendered: queries and keys.
      rays: rays of the zipped views' patches.
      views: colours and depth of the rendered views' patches.
    """

    zipped: tuple[Float[Array, "b v l p c"], Float[Array, "b v l p c"]] | None = dataclasses.field(
        metadata=axes("b v l p c")
    )
    rendered: tuple[Float[Array, "b q l p c"], Float[Array, "b q l p c"]] | None = (
        dataclasses.field(metadata=axes("b v l p c"))
    )
    rays: Float[Array, "b v l p 6"] | None = dataclasses.field(metadata=axes("b v l p c"))
    views: Float[Array, "b q l p 4"] | None = dataclasses.field(metadata=axes("b v l p c"))


def _patch_outputs(
    model: ZipMap, params: Any, zipped: Any, rendered: Any, config: LossConfig
) -> _PatchOutputs:
    """Compute the outputs of the objective from the taps of zipped and rendered views."""
    start = model.config.special_tokens
    return _PatchOutputs(
        zipped=model.patch_queries_and_keys(params, zipped) if config.matching else None,
        rendered=model.patch_queries_and_keys(params, rendered) if config.matching else None,
        rays=read_rays(params, zipped[..., start:, :]) if config.rays else None,
        views=read_patches(params, rendered[..., start:, :]) if config.views else None,
    )


def _patch_predictions(outputs: _PatchOutputs, batch: Mapping[str, Any]) -> PatchPredictions:
    """Combine the outputs of all views; zipped and rendered views query the zipped ones."""
    zipped, rendered = outputs.zipped, outputs.rendered
    if zipped is None or rendered is None:
        return PatchPredictions(rays=outputs.rays, views=outputs.views)
    queries = jnp.concatenate([zipped[0], rendered[0]], axis=1)
    views = {
        name: jnp.concatenate([batch[name], batch[TARGET + name]], axis=array.view_axis)
        for name, array in POSED_VIEWS.items()
        if name != "images"
    }
    target = target_from_batch(views)
    return PatchPredictions((queries, zipped[1]), outputs.rays, outputs.views, target)
