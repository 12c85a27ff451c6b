"""The training objective: a weighted sum, with every term by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import jax.numpy as jnp

from zipmap_jax.losses.camera import absolute_pose_loss, pairwise_pose_loss
from zipmap_jax.losses.depth import depth_loss
from zipmap_jax.losses.normalise import normalise_prediction, rescale
from zipmap_jax.losses.points import normal_loss, point_loss
from zipmap_jax.losses.rendering import colour_loss, peak_signal_to_noise
from zipmap_jax.losses.target import valid_samples

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.losses.target import QueryTarget, Target
    from zipmap_jax.structs import Prediction

CameraKind = Literal["absolute", "pairwise"]
POSE_WEIGHTS: dict[CameraKind, tuple[float, float, float]] = {
    "absolute": (1.0, 1.0, 0.5),
    "pairwise": (10.0, 0.2, 0.5),
}
"""Weights of translation, rotation and field of view within the camera loss."""


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the objective; the defaults are the published ones.

    Of the published colour loss, L2 + 0.5 LPIPS, this has the L2 term: LPIPS needs the weights of
    a pretrained VGG.

    Attributes:
      camera_kind: "absolute" for models with a reference view, "pairwise" for those without.
      camera, depth, points, normals: weights for the input views.
      colour, query_depth: weights for queried views.
      pose: weights of translation, rotation and field of view; None = those of `camera_kind`.
      conf_gamma, conf_alpha: `gamma e C - alpha log C`.
      quantile: share of the pixels the depth terms keep.
    """

    camera_kind: CameraKind = "pairwise"
    camera: float = 5.0
    depth: float = 1.0
    points: float = 1.0
    normals: float = 1.0
    colour: float = 10.0
    query_depth: float = 1.0
    pose: tuple[float, float, float] | None = None
    conf_gamma: float = 1.0
    conf_alpha: float = 0.2
    quantile: float = 0.98

    def __post_init__(self) -> None:
        if self.camera_kind not in POSE_WEIGHTS:
            raise ValueError(
                f"camera_kind must be 'absolute' or 'pairwise', got {self.camera_kind!r}."
            )
        if not 0 < self.quantile < 1:
            raise ValueError(f"quantile must lie between 0 and 1, got {self.quantile}.")


def total_loss(
    prediction: Prediction,
    target: Target,
    config: LossConfig,
    query: tuple[Prediction, QueryTarget] | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Objective of one batch, in float32.

    Means are pooled over the batch at hand, not per sample. A prediction that is not finite may
    give a finite loss with a NaN gradient: check both before using them.

    Args:
      prediction: of the input views, in any unit; with local points and poses.
      target: ground truth of the input views.
      config: weights (static under jit).
      query: prediction and ground truth of queried views, for models that can render.

    Returns:
      The objective, and its parts by name:

      - `loss_objective`;
      - `loss_camera` and its terms `loss_T`, `loss_R`, `loss_FL` (parity: in the pairwise loss T
        and R are reported with their weights, in the absolute loss without);
      - `loss_conf_depth`, `loss_reg_depth`, `loss_grad_depth`;
      - `loss_local_pts`, `loss_local_pts_normal`;
      - with queries `loss_nvs_rgb`, `loss_nvs_l2`, `loss_nvs_psnr` (decibels), and
        `loss_nvs_conf_depth`, `loss_nvs_reg_depth`, `loss_nvs_grad_depth`.

    Raises:
      ValueError: the prediction lacks poses or local points.

    Source: ZipMap, training losses.
    """
    aligned, scales = normalise_prediction(prediction, target)
    parts = {**_point_parts(aligned, target), **_camera_parts(aligned, target, config)}
    mask = target.mask & target.valid[:, None, None, None]
    parts |= _depth_parts("loss_", aligned, target.depth, mask, config)
    objective = (
        config.camera * parts["loss_camera"]
        + config.depth * _sum_of(parts, "loss_{}_depth")
        + config.points * parts["loss_local_pts"]
        + config.normals * parts["loss_local_pts_normal"]
    )
    if query is not None:
        parts |= _query_parts(rescale(query[0], scales), query[1], config)
        objective = (
            objective
            + config.colour * parts["loss_nvs_rgb"]
            + config.query_depth * _sum_of(parts, "loss_nvs_{}_depth")
        )
    return objective, {**parts, "loss_objective": objective}


def _point_parts(aligned: Prediction, target: Target) -> dict[str, Float[Array, ""]]:
    assert aligned.local_points is not None  # normalise_prediction has checked
    return {
        "loss_local_pts": point_loss(aligned.local_points, target),
        "loss_local_pts_normal": normal_loss(aligned.local_points, target),
    }


def _camera_parts(
    aligned: Prediction, target: Target, config: LossConfig
) -> dict[str, Float[Array, ""]]:
    if aligned.pose_enc is None:
        raise ValueError(
            "The camera loss needs pose encodings, got a prediction without; "
            "pass the prediction of the input views."
        )
    pairwise = config.camera_kind == "pairwise"
    loss = pairwise_pose_loss if pairwise else absolute_pose_loss
    translation, rotation, fov = loss(aligned.pose_enc, target.pose_enc, target.valid_cameras)
    weights = config.pose or POSE_WEIGHTS[config.camera_kind]
    weighted = (weights[0] * translation, weights[1] * rotation, weights[2] * fov)
    return {
        "loss_camera": weighted[0] + weighted[1] + weighted[2],
        "loss_T": weighted[0] if pairwise else translation,
        "loss_R": weighted[1] if pairwise else rotation,
        "loss_FL": fov,
    }


def _depth_parts(
    prefix: str,
    aligned: Prediction,
    depth: Float[Array, "b v h w"],
    mask: Array,
    config: LossConfig,
) -> dict[str, Float[Array, ""]]:
    terms = depth_loss(
        aligned.depth,
        aligned.depth_conf,
        depth,
        mask,
        gamma=config.conf_gamma,
        alpha=config.conf_alpha,
        quantile=config.quantile,
    )
    names = (f"{prefix}{name}_depth" for name in ("conf", "reg", "grad"))
    return dict(zip(names, terms, strict=True))


def _query_parts(
    aligned: Prediction, target: QueryTarget, config: LossConfig
) -> dict[str, Float[Array, ""]]:
    if aligned.rgb is None:
        raise ValueError("The colour loss needs rgb, got a prediction without; query the model.")
    squared = colour_loss(aligned.rgb, target.images)
    mask = target.mask & valid_samples(target.mask)[:, None, None, None]
    return {
        "loss_nvs_rgb": squared,
        "loss_nvs_l2": squared,
        "loss_nvs_psnr": peak_signal_to_noise(squared),
        **_depth_parts("loss_nvs_", aligned, target.depth, mask, config),
    }


def _sum_of(parts: dict[str, Float[Array, ""]], pattern: str) -> Float[Array, ""]:
    return sum((parts[pattern.format(name)] for name in ("conf", "reg", "grad")), jnp.zeros(()))
