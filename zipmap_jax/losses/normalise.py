"""The two scales between a prediction and the ground truth.

The unit of a prediction is arbitrary. The prediction is first divided by the mean distance of its
own points, through which gradients flow, and then multiplied by the scale that fits it best to the
ground truth, which is a constant.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from zipmap_jax.losses.robust import clamp, safe_norm
from zipmap_jax.structs import HeadOutputs

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int

    from zipmap_jax.losses.target import Target

ALIGNMENT_POINTS = 4096
"""Points of a sample that determine its scale."""


@dataclasses.dataclass(frozen=True)
class Scales:
    """Conversion of lengths from the unit of a prediction to that of the ground truth, per sample.

    Attributes:
      unit: divisor of lengths (`prediction_unit`).
      alignment: factor on the quotient (`alignment_scale`).
    """

    unit: Float[Array, " b"]
    alignment: Float[Array, " b"]

    def apply(self, lengths: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
        """Converts lengths.

        Args:
          lengths: lengths in the unit of the prediction.
          axis: axis of the samples.

        Returns:
          Lengths in the unit of the ground truth.
        """
        shape = [1] * lengths.ndim
        shape[axis] = -1
        return lengths / self.unit.reshape(shape) * self.alignment.reshape(shape)


def point_weights(
    z: Float[Array, "b v h w"], mask: Bool[Array, "b v h w"]
) -> Float[Array, "b v h w"]:
    """Weight of a point's error, `1 / (max(z, 0.1 mean z of the view) + 1e-6)`.

    Args:
      z: clamped ground-truth depth.
      mask: valid pixels.

    Returns:
      Weights; those of invalid pixels have no meaning.

    Source: ZipMap (arXiv 2603.04385), local-point loss.
    """
    inside = jnp.mean(jnp.where(mask, z, 0.0), axis=(2, 3))
    share = jnp.mean(mask.astype(z.dtype), axis=(2, 3))
    mean = inside / (share + 1e-7)
    return 1.0 / (jnp.maximum(z, 0.1 * mean[..., None, None]) + 1e-6)


def prediction_unit(
    points: Float[Array, "b v h w 3"], mask: Bool[Array, "b v h w"], *, parity: bool = True
) -> Float[Array, " b"]:
    """Mean distance of the predicted points from their own cameras, per sample.

    `n = clip(sum_p m_p |P_p| / (sum_p m_p + 1e-6), 1e-6, 1e6)`. Gradients flow through it, so the
    point losses do not depend on the scale of the points.

    Args:
      points: predicted points in camera frames.
      mask: valid pixels of the ground truth.
      parity: whether the unit of a sample without a valid pixel is 1e-6, as in the reference, or 1.

    Returns:
      The divisor of lengths.

    Source: ZipMap (arXiv 2603.04385), training losses.
    """
    distance = safe_norm(jnp.where(mask[..., None], points, 0.0))
    number = jnp.sum(mask, axis=(1, 2, 3), dtype=jnp.int32)
    unit = jnp.clip(jnp.sum(distance, axis=(1, 2, 3)) / (number + 1e-6), 1e-6, 1e6)
    return unit if parity else jnp.where(number > 0, unit, 1.0)


def alignment_scale(
    points: Float[Array, "b v h w 3"], target: Target, samples: int = ALIGNMENT_POINTS
) -> Float[Array, " b"]:
    """Scale S that minimises `sum w |S P - G|` over a sample of the valid points, per sample.

    The minimiser is a weighted median of the ratios of coordinates; the result is its absolute
    value. No gradient flows through it.

    Args:
      points: predicted points, divided by `prediction_unit`.
      target: ground truth.
      samples: number of points used, evenly spaced among the valid ones in row-major order.

    Returns:
      S >= 0; 1 if no sample of the batch is valid, or if the sample has no valid pixel.

    Source: ZipMap (arXiv 2603.04385), training losses; the solver is MoGe's (Wang et al.,
      CVPR 2025).
    """
    truth = clamp(target.cam_points)
    weights = point_weights(truth[..., 2], target.mask)
    batch = points.shape[0]
    scale = jax.vmap(_weighted_median_scale, in_axes=(0, 0, 0, 0, None))(
        jax.lax.stop_gradient(points).reshape(batch, -1, 3),
        truth.reshape(batch, -1, 3),
        weights.reshape(batch, -1),
        target.mask.reshape(batch, -1),
        samples,
    )
    return jnp.where(jnp.any(target.valid), jnp.abs(scale), 1.0)


def normalise_prediction(
    prediction: HeadOutputs, target: Target, *, parity: bool = True
) -> tuple[HeadOutputs, Scales]:
    """Converts a prediction to the unit of the ground truth.

    Args:
      prediction: prediction of the input views, with local points.
      target: ground truth.
      parity: see `prediction_unit`.

    Returns:
      The converted prediction, and the two scales, which also apply to other views of the scenes.

    Raises:
      ValueError: the prediction has no local points.
    """
    if prediction.local_points is None:
        raise ValueError(
            "Losses need local points to find the scale, got a prediction without; "
            "pass the prediction of the input views."
        )
    unit = prediction_unit(prediction.local_points, target.mask, parity=parity)
    points = prediction.local_points / unit[:, None, None, None, None]
    scales = Scales(unit, alignment_scale(points, target))
    return rescale(prediction, scales), scales


def rescale(prediction: HeadOutputs, scales: Scales) -> HeadOutputs:
    """Converts every length of a prediction to the unit of the ground truth.

    Args:
      prediction: prediction of any views of the scenes.
      scales: scales of `normalise_prediction`.

    Returns:
      The converted prediction.
    """
    points, pose = prediction.local_points, prediction.pose_enc
    if points is not None:
        points = scales.apply(points, axis=0)
    if pose is not None:
        pose = jnp.concatenate([scales.apply(pose[..., :3], axis=1), pose[..., 3:]], axis=-1)
    return dataclasses.replace(
        prediction,
        depth=scales.apply(prediction.depth, axis=0),
        local_points=points,
        pose_enc=pose,
    )


def _weighted_median_scale(
    points: Float[Array, "n 3"],
    truth: Float[Array, "n 3"],
    weights: Float[Array, " n"],
    mask: Bool[Array, " n"],
    samples: int,
) -> Float[Array, ""]:
    """Minimiser S of `sum w |S x - y|` over the coordinates of a subsample; 1 without any."""
    index, has_any = _valid_subsample(mask, samples)
    x = jnp.where(has_any, points[index], 1.0).reshape(-1)
    y = jnp.where(has_any, truth[index], 1.0).reshape(-1)
    w = jnp.broadcast_to(weights[index][:, None], (samples, 3))
    w = jnp.where(has_any, w, 1.0).reshape(-1)
    y = jnp.where(x < 0, -y, y)
    x = jnp.abs(x)
    ratio = y / jnp.maximum(x, 1e-7)
    order = jnp.argsort(ratio)
    mass = jnp.cumsum((w * x)[order])
    return ratio[order][jnp.argmax(2 * mass - mass[-1] >= 0)]


def _valid_subsample(
    mask: Bool[Array, " n"], samples: int
) -> tuple[Int[Array, " samples"], Bool[Array, ""]]:
    """Positions of `samples` valid entries, evenly spaced by rank, and whether any is valid.

    Positions repeat if fewer entries are valid.
    """
    ranks = jnp.cumsum(mask, dtype=jnp.int32)
    number = ranks[-1]
    i = jnp.arange(samples, dtype=jnp.int32)
    # floor(i * number / samples), split so that the product cannot overflow 32 bits.
    rank = i * (number // samples) + (i * (number % samples)) // samples
    position = jnp.searchsorted(ranks, rank + 1)
    return jnp.minimum(position, mask.shape[0] - 1), number > 0
