"""The training objective: a weighted sum of named terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.losses.camera import absolute_pose_loss, pairwise_pose_loss
from zipmap_jax.losses.config import POSE_WEIGHTS, LossConfig
from zipmap_jax.losses.depth import depth_loss
from zipmap_jax.losses.matching import matching_loss
from zipmap_jax.losses.normalise import normalise_prediction, rescale
from zipmap_jax.losses.patch_rays import patch_ray_loss
from zipmap_jax.losses.patch_views import patch_view_loss
from zipmap_jax.losses.perceptual import perceptual_loss
from zipmap_jax.losses.points import normal_loss, point_loss
from zipmap_jax.losses.rendering import colour_loss, peak_signal_to_noise
from zipmap_jax.losses.target import valid_samples, without_far_pixels, without_far_queries
from zipmap_jax.structs import axes

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.losses.target import QueryTarget, Target
    from zipmap_jax.structs import HeadOutputs


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PatchPredictions:
    """Predictions from single patches, in some layers and row by row in each view.

    Attributes:
      queries_and_keys: queries and keys of `ZipMap.patch_queries_and_keys`.
      rays: rays of the input views, of `zipmap_jax.train.linear_probe`.
      views: colours and log depths of the queried views, of `zipmap_jax.train.linear_probe`.
      target: ground truth of all views that have queries, the input views first; None = the input
        views only.
    """

    queries_and_keys: tuple[Float[Array, "b v l p c"], Float[Array, "b w l p c"]] | None = (
        dataclasses.field(default=None, metadata=axes("b v l p c"))
    )
    rays: Float[Array, "b v l p 6"] | None = dataclasses.field(
        default=None, metadata=axes("b v l p c")
    )
    views: Float[Array, "b q l p 4"] | None = dataclasses.field(
        default=None, metadata=axes("b v l p c")
    )
    target: Target | None = None


Terms = dict[str, "Float[Array, '']"]
"""Scalar losses by name."""


def term_weights(config: LossConfig) -> dict[str, float]:
    """Weights of the terms in the objective.

    Args:
      config: weights of the losses.

    Returns:
      Weights by the name that follows "raw/" and "weighted/" in the parts of `total_loss`.
    """
    pose = config.pose or POSE_WEIGHTS[config.camera_kind]
    depths = {f"{name}_depth": config.depth for name in ("conf", "reg", "grad")}
    return {
        **{name: config.camera * w for name, w in zip(("T", "R", "FL"), pose, strict=True)},
        **depths,
        "local_pts": config.points,
        "local_pts_normal": config.normals,
        "matching": config.matching,
        "rays": config.rays,
        "views": config.views,
        "nvs_l2": config.colour,
        "nvs_lpips": config.colour * config.perceptual,
        **{f"nvs_{name}": config.query_depth for name in depths},
    }


def total_loss(
    prediction: HeadOutputs,
    target: Target,
    config: LossConfig,
    query: tuple[HeadOutputs, QueryTarget] | None = None,
    perceptual: Mapping[str, Any] | None = None,
    patches: PatchPredictions | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Training objective of one batch, in float32.

    Means are pooled over the batch, not per sample. A prediction that is not finite may yield a
    finite loss with a NaN gradient, so both need to be checked.

    Args:
      prediction: prediction of the input views, in any unit, with local points and poses.
      target: ground truth of the input views.
      config: weights (static under jit).
      query: prediction and ground truth of queried views, for models that can render.
      perceptual: parameters of LPIPS; None = the colour loss is the squared error alone.
      patches: predictions for the losses on single patches; None = without these losses.

    Returns:
      The objective, and its parts by name:

      - for every term X of `term_weights`, "raw/X", the unweighted term, and "weighted/X", its
        summand in the objective. "raw/R" is an angle in radians in the pairwise loss and a distance
        of quaternions in the absolute loss;
      - the reference's names: "loss_objective"; "loss_camera", without its weight; "loss_T" and
        "loss_R" (parity: with their weights within "loss_camera" in the pairwise loss, without them
        in the absolute loss); "loss_FL" and "loss_X" of the other terms, unweighted;
      - with queries also "loss_nvs_rgb", the colour loss, and "loss_nvs_psnr" in decibels.

    Raises:
      ValueError: the prediction lacks poses or local points.

    Source: ZipMap (arXiv 2603.04385), training losses.
    """
    if not config.parity:
        target = without_far_pixels(target)
    aligned, scales = normalise_prediction(prediction, target, parity=config.parity)
    terms = {
        **_point_terms(aligned, target, config),
        **_camera_terms(aligned, target, config),
        **_depth_terms("", aligned, target.depth, target.mask, target.valid, config),
    }
    if query is not None:
        rendered, truth = rescale(query[0], scales), query[1]
        truth = truth if config.parity else without_far_queries(truth, target)
        terms |= _query_terms(rendered, truth, config, perceptual)
    if patches is not None:
        terms |= _patch_terms(patches, target, config)
        if query is not None and patches.views is not None:
            terms["views"] = patch_view_loss(patches.views, query[1])
    weights = term_weights(config)
    weighted = {name: weights[name] * term for name, term in terms.items()}
    objective = sum(weighted.values(), jnp.zeros(()))
    parts = {
        **_reference_parts(terms, config),
        "loss_objective": objective,
        **{f"raw/{name}": term for name, term in terms.items()},
        **{f"weighted/{name}": term for name, term in weighted.items()},
    }
    return objective, parts


def _reference_parts(terms: Terms, config: LossConfig) -> Terms:
    """Terms under the names, and with the weights, of the reference's log."""
    parts = {f"loss_{name}": term for name, term in terms.items()}
    weights = config.pose or POSE_WEIGHTS[config.camera_kind]
    pose = [w * terms[name] for name, w in zip(("T", "R", "FL"), weights, strict=True)]
    parts["loss_camera"] = pose[0] + pose[1] + pose[2]
    if config.camera_kind == "pairwise":
        parts["loss_T"], parts["loss_R"] = pose[:2]
    if "nvs_l2" in terms:
        squared = terms["nvs_l2"]
        parts["loss_nvs_rgb"] = squared + config.perceptual * terms.get("nvs_lpips", 0.0)
        parts["loss_nvs_psnr"] = peak_signal_to_noise(squared)
    return parts


def _point_terms(aligned: HeadOutputs, target: Target, config: LossConfig) -> Terms:
    assert aligned.local_points is not None  # checked by normalise_prediction
    return {
        "local_pts": point_loss(aligned.local_points, target),
        "local_pts_normal": normal_loss(aligned.local_points, target, parity=config.parity),
    }


def _patch_terms(patches: PatchPredictions, target: Target, config: LossConfig) -> Terms:
    terms: Terms = {}
    if patches.queries_and_keys is not None:
        terms["matching"] = matching_loss(*patches.queries_and_keys, patches.target or target)
    if patches.rays is not None:
        terms["rays"] = patch_ray_loss(patches.rays, target, config.rays_frame)
    return terms


def _camera_terms(aligned: HeadOutputs, target: Target, config: LossConfig) -> Terms:
    if aligned.pose_enc is None:
        raise ValueError(
            "The camera loss needs pose encodings, got a prediction without; "
            "pass the prediction of the input views."
        )
    valid = target.valid_cameras if config.parity else target.valid
    if config.camera_kind == "absolute":
        terms = absolute_pose_loss(aligned.pose_enc, target.pose_enc, valid)
    else:
        truth = target.pose_enc
        terms = pairwise_pose_loss(aligned.pose_enc, truth, valid, parity=config.parity)
    return dict(zip(("T", "R", "FL"), terms, strict=True))


def _depth_terms(
    prefix: str,
    aligned: HeadOutputs,
    depth: Float[Array, "b v h w"],
    mask: Array,
    valid: Array,
    config: LossConfig,
) -> Terms:
    terms = depth_loss(
        aligned.depth,
        aligned.depth_conf,
        depth,
        mask & valid[:, None, None, None],
        gamma=config.conf_gamma,
        alpha=config.conf_alpha,
        quantile=config.quantile,
    )
    names = (f"{prefix}{name}_depth" for name in ("conf", "reg", "grad"))
    return dict(zip(names, terms, strict=True))


def _query_terms(
    aligned: HeadOutputs,
    target: QueryTarget,
    config: LossConfig,
    perceptual: Mapping[str, Any] | None,
) -> Terms:
    if aligned.rgb is None:
        raise ValueError("The colour loss needs rgb, got a prediction without; query the model.")
    terms = {"nvs_l2": colour_loss(aligned.rgb, target.images)}
    if perceptual is not None:
        terms["nvs_lpips"] = perceptual_loss(perceptual, aligned.rgb, target.images)
    mask, valid = target.mask, valid_samples(target.mask)
    return terms | _depth_terms("nvs_", aligned, target.depth, mask, valid, config)
