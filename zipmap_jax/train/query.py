"""State query: some views of a scene are zipped, others rendered from the state.

A batch is drawn with all the views and split before the step, by `split_batch`; the objective of
the split batch is `query_scene_loss`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.geometry import query_frame, ray_conditions
from zipmap_jax.losses import (
    PatchAnswers,
    query_targets_from_batch,
    target_from_batch,
    total_loss,
)
from zipmap_jax.structs import Views
from zipmap_jax.train.probe import read_patches, read_rays
from zipmap_jax.train.step import gather_views

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int, Key

    from zipmap_jax.losses import LossConfig
    from zipmap_jax.models.zipmap import ZipMap
    from zipmap_jax.train.step import Batch, LossFn, Metrics

VIEW_ARRAYS = ("images", "depth", "valid", "intrinsics", "w2c")
"""Entries of a batch with a view axis; all others belong to the scene."""


def split_views(
    key: Key[Array, ""], total: int, views: int, targets: int
) -> tuple[Int[Array, " v"], Int[Array, " q"]]:
    """Draw which views are zipped and which are rendered.

    Zipped are, in this order, the first view, the last, and others at multiples of
    `total // (views - 1)` in random order. Rendered are views that are not zipped, and possibly
    one that is.

    Args:
      key: random key.
      total: views of the scene.
      views: number of views to zip, at least 2.
      targets: number of views to render, at least 1.

    Returns:
      Indices of the views to zip, and of those to render.

    Raises:
      ValueError: a number is too small, or the scene has too few views.

    Source: training recipe, section 3.2.
    """
    if views < 2 or targets < 1 or total < views + targets - 1:
        raise ValueError(
            f"a state query needs at least 2 views and 1 target, and views + targets - 1 views in "
            f"a scene, got {views}, {targets} and {total}: change the bucket or draw more views"
        )
    inner, extra, rest = jax.random.split(key, 3)
    step = total // (views - 1)
    # There are never fewer than views - 2 of them, as total >= views.
    between = jnp.arange(step, total - 1, step)
    between = jax.random.permutation(inner, between)[: views - 2]
    zipped = jnp.concatenate([jnp.array([0, total - 1]), between])
    again = zipped[jax.random.randint(extra, (), 0, views)]
    taken = jnp.zeros(total, bool).at[zipped].set(True).at[again].set(False)
    order = jnp.argsort(jnp.where(taken, jnp.inf, jax.random.uniform(rest, (total,))))
    return zipped, order[:targets]


def split_batch(key: Key[Array, ""], batch: Mapping[str, Any], views: int, targets: int) -> Batch:
    """Split the views of a slot's scenes into those to zip and those to render, in all alike.

    Args:
      key: random key.
      batch: `images` [b, s, h, w, 3], `depth` and `valid` [b, s, h, w], `intrinsics`
        [b, s, 3, 3], `w2c` [b, s, 4, 4]; other entries pass through.
      views: number of views to zip.
      targets: number of views to render; 0 = the batch is returned as it is.

    Returns:
      The batch with the views to zip, and those to render as `target_images`, `target_depth` ...

    Raises:
      ValueError: see `split_views`.

    Source: training recipe, section 3.2.
    """
    if targets == 0:
        return dict(batch)

    zipped, rendered = split_views(key, batch["images"].shape[1], views, targets)
    inputs = {name: batch[name][:, zipped] for name in VIEW_ARRAYS}
    queried = {f"target_{name}": batch[name][:, rendered] for name in VIEW_ARRAYS}
    return {**batch, **inputs, **queried}


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
      ValueError: the objective asks for rays in another frame than that of rendered views.
    """
    if config.rays and config.rays_frame != "first":
        raise ValueError(
            f"rendered views are told their rays in the first camera's frame, but zipped ones are "
            f"asked for theirs in the frame {config.rays_frame}: set loss.rays_frame to first"
        )
    axis = model.views_axis

    def loss(params: Any, batch: Batch) -> tuple[jax.Array, Metrics]:
        images, state = Views(batch["images"]), model.init_state(params)
        whole = gather_views(batch, axis)
        rays = query_rays({**batch, "w2c": whole["w2c"]})
        patches = None
        if config.matching or config.rays or config.views:
            state, prediction, zipped = model.update_with_taps(params, state, images, chunk=chunk)
            rendered, taps = model.read_with_taps(params, state, rays, chunk=chunk)
            said = _said(model, params, zipped, taps, config)
            patches = _answers(gather_views(said, axis), whole)
        else:
            state, prediction = model.update(params, state, images, chunk=chunk)
            rendered = model.read(params, state, rays, chunk=chunk)
        prediction, rendered = gather_views((prediction, rendered), axis)
        target, truth = query_targets_from_batch(whole)
        return total_loss(prediction, target, config, (rendered, truth), perceptual, patches)

    return loss


def _said(model: ZipMap, params: Any, zipped: Array, rendered: Array, config: LossConfig) -> Any:
    """Addresses of zipped and rendered patches, rays of the former and what the latter show.

    Only what the objective asks for; everything else is None.
    """
    start = model.config.special_tokens
    return (
        model.addresses(params, zipped) if config.matching else None,
        model.addresses(params, rendered) if config.matching else None,
        read_rays(params, zipped[..., start:, :]) if config.rays else None,
        read_patches(params, rendered[..., start:, :]) if config.views else None,
    )


def _answers(said: Any, batch: Mapping[str, Any]) -> PatchAnswers:
    """What patches said, of all views; those of zipped and of rendered views ask the former."""
    zipped, rendered, rays, shown = said
    if zipped is None:
        return PatchAnswers(rays=rays, views=shown)
    queries = jnp.concatenate([zipped[0], rendered[0]], axis=1)
    views = {
        name: jnp.concatenate([batch[name], batch[f"target_{name}"]], axis=1)
        for name in VIEW_ARRAYS
        if name != "images"
    }
    return PatchAnswers((queries, zipped[1]), rays, shown, target_from_batch(views))
