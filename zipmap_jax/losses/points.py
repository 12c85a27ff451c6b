"""Local-point losses: distances of points and angles of surface normals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from zipmap_jax.losses.normalise import point_weights
from zipmap_jax.losses.robust import clamp, count, masked_mean

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.losses.target import Target

# Three arrays instead of a trailing axis: stacking the coordinates of so many intermediate vectors
# multiplies the code that XLA compiles.
Vector = tuple[jax.Array, jax.Array, jax.Array]

EDGE_THRESHOLD = 0.03
"""Relative variation of depth that marks an edge."""
HUBER_ANGLE = math.radians(3.0)
"""Angle in radians at which the Huber loss becomes linear."""
MIN_ANGLE, MAX_ANGLE = math.radians(1.0), math.radians(90.0)
"""Range in radians to which angles are clipped."""
MEAN_ANGLE_WEIGHT = 0.1
"""Weight of the mean over valid corners: 10 degrees equal a point error of 1.5 %."""


def point_loss(points: Float[Array, "b v h w 3"], target: Target) -> Float[Array, ""]:
    """Mean of `|P - G| / depth` over the coordinates of valid pixels.

    Args:
      points: predicted points in the unit of the target.
      target: ground truth.

    Returns:
      The loss.

    Source: ZipMap (arXiv 2603.04385), local-point loss.
    """
    truth = clamp(target.cam_points)
    weights = point_weights(truth[..., 2], target.mask)
    selected = (target.mask & target.valid[:, None, None, None])[..., None]
    difference = points - truth
    # The coordinate that determines the alignment fits exactly; the sign of its rounding error is
    # meaningless.
    resolved = jnp.abs(difference) > jnp.finfo(difference.dtype).eps * jnp.abs(truth)
    difference = jnp.where(selected & resolved, difference, 0.0)
    error = clamp(jnp.abs(difference) * weights[..., None])
    return masked_mean(error, jnp.broadcast_to(selected, error.shape))


def normal_loss(
    points: Float[Array, "b v h w 3"], target: Target, *, parity: bool = True
) -> Float[Array, ""]:
    """Angles between predicted and true normals, in samples with detailed depth.

    Every 2 x 2 cell of pixels has four corner normals; pixels at depth edges are left out.

    Parity: the mean is over all cells, valid or not, and is divided by four times the longer side
    of the image, which makes the term small (1e-4 of the objective) and dependent on the size.
    Without parity it is `MEAN_ANGLE_WEIGHT` times the mean over valid corners, and pixels next to
    invalid ones are not edges.

    Args:
      points: predicted points in the unit of the target.
      target: ground truth.
      parity: whether the loss is that of the reference, see above.

    Returns:
      The loss; 0 if no sample has detailed depth or none is valid.

    Source: ZipMap (arXiv 2603.04385), local-point loss; after MoGe (Wang et al., CVPR 2025).
    """
    truth = clamp(target.cam_points)
    usable = target.mask & ~depth_edges(truth[..., 2], None if parity else target.mask)
    usable = usable & (target.detailed & jnp.any(target.valid))[:, None, None, None]
    points = jnp.where(target.mask[..., None], points, 0.0)
    total, number = jnp.zeros((), points.dtype), jnp.zeros((), jnp.int32)
    predicted = [_corners(points[..., i]) for i in range(3)]
    true = [_corners(truth[..., i]) for i in range(3)]
    corners = _corners(usable)
    for apex, left, right in ((3, 1, 2), (1, 0, 3), (0, 2, 1), (2, 3, 0)):
        valid = corners[apex] & corners[left] & corners[right]
        a = _corner_normal(predicted, apex, left, right)
        b = _corner_normal(true, apex, left, right)
        total = total + jnp.sum(_angle_penalty(a, b, valid))
        number = number + count(valid)
    if not parity:
        return MEAN_ANGLE_WEIGHT * total / jnp.maximum(number, 1)
    _, views, height, width = target.mask.shape
    detailed = jnp.sum(target.detailed, dtype=jnp.int32)
    cells = detailed * (views * (height - 1) * (width - 1))
    return total / jnp.maximum(cells, 1) / (4 * max(height, width))


def depth_edges(
    z: Float[Array, "b v h w"], mask: Bool[Array, "b v h w"] | None = None
) -> Bool[Array, "b v h w"]:
    """Pixels where depth varies by more than 3 % within their 3 x 3 neighbourhood.

    Args:
      z: ground-truth depth, 0 where invalid.
      mask: neighbours that are compared; None = all, so that pixels next to invalid ones, whose
        depth is 0, are edges.

    Returns:
      The edges.
    """
    window, strides = (1, 1, 3, 3), (1, 1, 1, 1)
    padding = ((0, 0), (0, 0), (1, 1), (1, 1))
    compared = jnp.ones(z.shape, bool) if mask is None else mask
    high, low = jnp.where(compared, z, -jnp.inf), jnp.where(compared, z, jnp.inf)
    largest = jax.lax.reduce_window(high, -jnp.inf, jax.lax.max, window, strides, padding)
    smallest = jax.lax.reduce_window(low, jnp.inf, jax.lax.min, window, strides, padding)
    known = z > 0
    return ~known | ((largest - smallest) / jnp.where(known, z, 1.0) > EDGE_THRESHOLD)


def _corners(x: Array) -> tuple[Array, Array, Array, Array]:
    """Upper left, upper right, lower left and lower right pixels of all 2 x 2 cells."""
    upper, lower = x[..., :-1, :], x[..., 1:, :]
    return upper[..., :-1], upper[..., 1:], lower[..., :-1], lower[..., 1:]


def _corner_normal(
    coordinates: list[tuple[Array, Array, Array, Array]], apex: int, left: int, right: int
) -> Vector:
    """Cross product of the two edges of every cell that meet at its corner `apex`."""
    x, y, z = ((c[left] - c[apex], c[right] - c[apex]) for c in coordinates)
    return _cross((x[0], y[0], z[0]), (x[1], y[1], z[1]))


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: Vector, b: Vector) -> Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _angle_penalty(a: Vector, b: Vector, valid: Bool[Array, "*n"]) -> Float[Array, "*n"]:
    """Huber loss of the angle between two vectors, clipped to [1, 90] degrees; 0 if not valid.

    The gradient outside this range is 0, because those vectors are replaced before the roots.
    """
    normal = _cross(a, b)
    square, cosine = _dot(normal, normal), _dot(a, b)
    fixed_sine = jnp.sqrt(jax.lax.stop_gradient(square)) + 1e-12
    angle = jnp.arctan2(fixed_sine, jax.lax.stop_gradient(cosine))
    inside = valid & (angle > MIN_ANGLE) & (angle < MAX_ANGLE) & (square > 0)
    sine = jnp.sqrt(jnp.where(inside, square, 1.0)) + 1e-12
    differentiable = jnp.arctan2(sine, jnp.where(inside, cosine, 1.0))
    theta = jnp.where(inside, differentiable, jnp.clip(angle, MIN_ANGLE, MAX_ANGLE))
    near = theta < HUBER_ANGLE
    penalty = jnp.where(near, jnp.square(theta) / (2 * HUBER_ANGLE), theta - HUBER_ANGLE / 2)
    return jnp.where(valid, penalty, 0.0)
