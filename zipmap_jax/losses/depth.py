"""Depth loss: confidence-weighted error, plain error, and error of gradients at four scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from zipmap_jax.losses.robust import LIMIT, below_quantile, clamp, count, masked_mean, masked_sum

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

GRADIENT_SCALES = 4
"""Number of strides (1, 2, 4, 8) of the gradient term."""


def depth_loss(
    depth: Float[Array, "b v h w"],
    confidence: Float[Array, "b v h w"],
    target: Float[Array, "b v h w"],
    mask: Bool[Array, "b v h w"],
    *,
    gamma: float = 1.0,
    alpha: float = 0.2,
    quantile: float = 0.98,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The three depth terms, pooled over all selected pixels of the batch.

    With e = |D - G| they are `mean(gamma e C - alpha log C)` and `mean(e)`, each without the values
    above its quantile, and the multi-scale gradient loss.

    Args:
      depth: predicted depth D in the unit of the target.
      confidence: predicted confidence C > 1.
      target: ground-truth depth G.
      mask: pixels that contribute (valid, in valid samples).
      gamma: weight of the error in the confidence term.
      alpha: weight of the logarithm in the confidence term.
      quantile: share of the pixels kept, between 0 and 1.

    Returns:
      Confidence, plain and gradient terms.

    Source: ZipMap (arXiv 2603.04385), depth loss; the confidence term is DUSt3R's (Wang et al.,
      CVPR 2024).
    """
    truth = clamp(target)
    selected = mask.reshape(-1)
    difference = jnp.where(mask, depth - truth, 0.0)
    error = clamp(jnp.abs(difference)).reshape(-1)
    trust = jnp.where(mask, confidence, 1.0).reshape(-1)
    weighted = clamp(gamma * error * trust - alpha * jnp.log(trust))
    conf = masked_mean(weighted, below_quantile(weighted, selected, quantile))
    reg = masked_mean(error, below_quantile(error, selected, quantile))
    return conf, reg, gradient_loss(difference, mask)


def gradient_loss(
    difference: Float[Array, "b v h w"], mask: Bool[Array, "b v h w"]
) -> Float[Array, ""]:
    """L1 norm of the error's image gradient at strides 1, 2, 4 and 8.

    Args:
      difference: prediction minus truth, 0 where masked.
      mask: pixels that contribute.

    Returns:
      The mean over the scales of (sum over neighbouring pairs) / (number of valid pixels).

    Source: MegaDepth (Li and Snavely, CVPR 2018), as used in ZipMap.
    """
    total = jnp.zeros((), difference.dtype)
    for scale in range(GRADIENT_SCALES):
        d, m = difference[..., :: 2**scale, :: 2**scale], mask[..., :: 2**scale, :: 2**scale]
        along_x = jnp.minimum(LIMIT, jnp.abs(d[..., :, 1:] - d[..., :, :-1]))
        along_y = jnp.minimum(LIMIT, jnp.abs(d[..., 1:, :] - d[..., :-1, :]))
        sums = masked_sum(along_x, m[..., :, 1:] & m[..., :, :-1])
        sums = sums + masked_sum(along_y, m[..., 1:, :] & m[..., :-1, :])
        total = total + sums / jnp.maximum(count(m), 1)
    return clamp(total / GRADIENT_SCALES)
