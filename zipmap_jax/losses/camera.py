"""Camera losses on absolute poses, or on all relative poses between views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from zipmap_jax.geometry import multiply, quaternion_to_matrix
from zipmap_jax.losses.robust import clamp, count, safe_norm

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

ITERATION_DECAY = 0.6
"""Weight of an iteration of the camera head relative to the next one."""
HUBER_DELTA = 0.1
"""Translation error, in normalised units, at which the Huber loss becomes linear."""
ARCCOS_MARGIN = 1e-6
"""Distance of the clipped cosine from -1 and 1."""
MIN_QUATERNION_SQUARE = 1e-12
"""Squared length of a predicted quaternion below which its gradient is bounded."""


def over_iterations(terms: Float[Array, " i"], decay: float = ITERATION_DECAY) -> Float[Array, ""]:
    """Weighted mean over the camera head's iterations, `1/I sum_i decay^(I-1-i) L_i`.

    Args:
      terms: losses L_i of the I iterations.
      decay: weight of an iteration relative to the next one.

    Returns:
      The weighted mean.
    """
    number = terms.shape[0]
    weights = jnp.asarray([decay ** (number - 1 - i) for i in range(number)], terms.dtype)
    return jnp.sum(weights * terms) / number


def absolute_pose_loss(
    pose_enc: Float[Array, "i b v 9"],
    target: Float[Array, "b v 9"],
    valid: Bool[Array, " b"],
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """L1 distance of pose encodings, for models with a reference view.

    Parity: quaternions are compared number by number, neither normalised nor up to sign; the
    model learns the convention (unit length, w >= 0).

    Args:
      pose_enc: predictions of all iterations, in the unit of the target.
      target: encoded ground truth.
      valid: samples that contribute.

    Returns:
      Translation, rotation and field-of-view terms, averaged over the iterations.

    Source: ZipMap (arXiv 2603.04385), camera loss.
    """
    error = clamp(jnp.abs(pose_enc - target[None]))
    selected = valid[None, :, None, None]
    return (
        over_iterations(_mean_per_iteration(error[..., 0:3], selected)),
        over_iterations(_mean_per_iteration(error[..., 3:7], selected)),
        over_iterations(_mean_per_iteration(error[..., 7:9], selected)),
    )


def pairwise_pose_loss(
    pose_enc: Float[Array, "i b v 9"],
    target: Float[Array, "b v 9"],
    valid: Bool[Array, " b"],
    *,
    parity: bool = True,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Errors of the relative poses of all ordered pairs of views, for models without reference.

    For `T_ij = T_i T_j^-1` the terms are the Huber loss of the translations and the geodesic angle
    of the rotations; fields of view are compared as in the absolute loss. The loss is invariant to
    rigid motions of the world.

    Args:
      pose_enc: predictions of all iterations, in the unit of the target.
      target: encoded ground truth.
      valid: samples that contribute.
      parity: whether angles are those of `clipped_angle`, as in the reference, or of
        `rotation_angle`.

    Returns:
      Translation, rotation (radians) and field-of-view terms, averaged over the iterations.

    Source: ZipMap (arXiv 2603.04385), affine-invariant camera loss.
    """
    views = target.shape[1]
    pairs = (valid[:, None, None] & ~jnp.eye(views, dtype=bool)[None])[None]
    true_rotation, true_translation = _relative_poses(target[None])
    rotation, translation = _relative_poses(pose_enc)
    distance = clamp(_huber(translation - true_translation))
    angle = (clipped_angle if parity else rotation_angle)(rotation, true_rotation)
    fov = clamp(jnp.abs(pose_enc[..., 7:9] - target[None, ..., 7:9]))
    return (
        over_iterations(_mean_per_iteration(distance, pairs[..., None])),
        over_iterations(_mean_per_iteration(clamp(angle), pairs)),
        over_iterations(_mean_per_iteration(fov, valid[None, :, None, None])),
    )


def clipped_angle(a: Float[Array, "*b 3 3"], b: Float[Array, "*#b 3 3"]) -> Float[Array, "*b"]:
    """Angle between rotations, `arccos((tr(A^T B) - 1) / 2)`, with a clipped cosine.

    Parity: the clip causes an error of 1.4e-3 between equal rotations, where the gradient is zero.

    Args:
      a, b: rotation matrices A and B.

    Returns:
      Angles in radians.
    """
    # trace(A^T B) equals the sum of the products of the entries.
    trace = jnp.sum(a * b, axis=(-1, -2))
    bound = 1 - ARCCOS_MARGIN
    return jnp.arccos(jnp.clip((trace - 1) / 2, -bound, bound))


def rotation_angle(a: Float[Array, "*b 3 3"], b: Float[Array, "*#b 3 3"]) -> Float[Array, "*b"]:
    """Angle between rotations, `atan2(|vee(A^T B)|, tr(A^T B) - 1)`.

    `vee(R) = (R_32 - R_23, R_13 - R_31, R_21 - R_12)` is twice the sine times the axis. The result
    is exact down to 0, where the gradient is 0.

    Args:
      a, b: rotation matrices A and B.

    Returns:
      Angles in radians.
    """
    relative = multiply(jnp.swapaxes(a, -1, -2), b)
    vee = [relative[..., i, j] - relative[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))]
    sine = safe_norm(jnp.stack(vee, axis=-1))
    cosine = jnp.trace(relative, axis1=-2, axis2=-1) - 1
    # Both vanish only where a short quaternion yields no rotation; atan2 has no gradient there.
    return jnp.arctan2(sine, jnp.where((sine == 0) & (cosine == 0), 1.0, cosine))


def _mean_per_iteration(x: Float[Array, "i *n"], mask: Bool[Array, "1 *m"]) -> Float[Array, " i"]:
    """Means over the selected entries of every iteration; 0 if no entry is selected."""
    selected = jnp.broadcast_to(mask, (1, *x.shape[1:]))
    axes = tuple(range(1, x.ndim))
    return jnp.sum(jnp.where(selected, x, 0.0), axis=axes) / jnp.maximum(count(selected), 1)


def _huber(error: Float[Array, "*n"]) -> Float[Array, "*n"]:
    size = jnp.abs(error)
    near = size <= HUBER_DELTA
    quadratic = 0.5 * jnp.square(jnp.where(near, error, 0.0))
    return jnp.where(near, quadratic, HUBER_DELTA * (size - 0.5 * HUBER_DELTA))


def _relative_poses(
    enc: Float[Array, "i b v 9"],
) -> tuple[Float[Array, "i b v v 3 3"], Float[Array, "i b v v 3"]]:
    """Rotation and translation of `T_i T_j^-1` for all pairs of views."""
    rotation = quaternion_to_matrix(enc[..., 3:7], MIN_QUATERNION_SQUARE)
    first = rotation[:, :, :, None]
    second = jnp.swapaxes(rotation, -1, -2)[:, :, None]
    relative = multiply(first, second)
    rotated = multiply(relative, enc[:, :, None, :, :3, None])[..., 0]
    return relative, enc[:, :, :, None, :3] - rotated
