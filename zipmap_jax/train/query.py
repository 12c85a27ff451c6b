"""State query: some views of a scene are zipped, others rendered from the state.

A batch is drawn with all the views and split before the step, by `split_batch`; the objective of
the split batch is `query_scene_loss`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.errors import UserError
from zipmap_jax.geometry import query_frame, ray_conditions
from zipmap_jax.losses import (
    PatchPredictions,
    query_targets_from_batch,
    target_from_batch,
    total_loss,
)
from zipmap_jax.structs import Views
from zipmap_jax.train.batches.query_split import VIEW_ARRAYS
from zipmap_jax.train.linear_probe import read_patches, read_rays
from zipmap_jax.train.step import gather_views

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.losses import LossConfig
    from zipmap_jax.models.zipmap import ZipMap
    from zipmap_jax.train.step import Batch, LossFn, Metrics


def query_rays(batch: Mapping[str, Any]) -> Float[Array, "b q h w 9"]:
    """Ray conditions of the views to render.

    The world is the first zipped view's frame. Its unit is the largest absolute coordinate of the
    zipped views' centres, another than that of the depth.

    Args:
      batch: of `split_batch`.

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
    """Objective of a batch of `split_batch`: zip its views, then render the others from the state.

    Args:
      model: a state-query model.
      config: weights of the objective.
      perceptual: weights of LPIPS, 15 million numbers: hand them to the jitted function as an
        argument and make the loss inside it, so that they do not become constants of the program.
      chunk: see `ZipMap.update`.

    Returns:
      `loss(params, batch) -> (objective, named parts)`.

    Raises:
      UserError: the objective asks for rays in another frame than that of rendered views.
    """
    if config.rays and config.rays_frame != "first":
        raise UserError(
            f"rendered views are told their rays in the first camera's frame, but zipped ones are "
            f"asked for theirs in the frame {config.rays_frame}: set loss.rays_frame to first"
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
            said = _said(model, params, zipped, taps, config)
            patches = _answers(gather_views(said, axis), whole)
        prediction, rendered = gather_views((prediction, rendered), axis)
        target, truth = query_targets_from_batch(whole)
        return total_loss(prediction, target, config, (rendered, truth), perceptual, patches)

    return loss


def _said(model: ZipMap, params: Any, zipped: Any, rendered: Any, config: LossConfig) -> Any:
    """Addresses of zipped and rendered patches, rays of the former and what the latter show.

    Only what the objective asks for; everything else is None.
    """
    start = model.config.special_tokens
    return (
        model.patch_queries_and_keys(params, zipped) if config.matching else None,
        model.patch_queries_and_keys(params, rendered) if config.matching else None,
        read_rays(params, zipped[..., start:, :]) if config.rays else None,
        read_patches(params, rendered[..., start:, :]) if config.views else None,
    )


def _answers(said: Any, batch: Mapping[str, Any]) -> PatchPredictions:
    """What patches said, of all views; those of zipped and of rendered views ask the former."""
    zipped, rendered, rays, shown = said
    if zipped is None:
        return PatchPredictions(rays=rays, views=shown)
    queries = jnp.concatenate([zipped[0], rendered[0]], axis=1)
    views = {
        name: jnp.concatenate([batch[name], batch[f"target_{name}"]], axis=1)
        for name in VIEW_ARRAYS
        if name != "images"
    }
    return PatchPredictions((queries, zipped[1]), rays, shown, target_from_batch(views))
