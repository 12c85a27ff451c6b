"""Which patches show the same place: supervision of what fast weights are told and asked.

A patch whose query is near the keys of the patches that show the same place reads what these have
written. From random weights the camera loss finds that out very late, as it says nothing of single
patches; depth and poses of the ground truth do. No part of the published recipe.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from zipmap_jax.geometry import invert_pose, multiply, project, transform_points
from zipmap_jax.losses.robust import count

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.losses.target import Target

SHARPNESS = 10.0
"""Factor on the cosine between a query and a key."""
TOLERANCE = 0.1
"""A point is hidden where the depth map differs from its depth by this share."""


def matching_loss(
    queries: Float[Array, "b v l p c"], keys: Float[Array, "b w l p c"], target: Target
) -> Float[Array, ""]:
    """Cross entropy between where a patch's query looks and where the patch's centre is seen.

    For each patch and each other view that sees its centre, a softmax over the patches of that view
    against `correspondences`; the mean over patches, views and layers, as a share of the entropy of
    looking everywhere alike: 1 for who knows nothing, whatever the number of patches.

    Args:
      queries: of the patches of every view, row by row, in some layers; of unit length.
      keys: of the first w of these views, those that are zipped; likewise.
      target: ground truth of all views, its depth at the size of the images.
    """
    zipped = keys.shape[1]
    weights, seen = (x[:, :, :zipped] for x in correspondences(target, queries.shape[3]))
    cosines = jnp.einsum("bvlpc,bwlqc->lbvwpq", queries, keys, precision="highest")
    likelihood = jax.nn.log_softmax(SHARPNESS * cosines, axis=-1)
    entropy = -jnp.sum(weights[None] * likelihood, axis=-1)
    total = jnp.sum(jnp.where(seen, jnp.mean(entropy, axis=0), 0.0))
    return total / jnp.maximum(count(seen), 1) / math.log(max(queries.shape[3], 2))


def correspondences(
    target: Target, patches: int
) -> tuple[Float[Array, "b v w p q"], Bool[Array, "b v w p"]]:
    """Where the centre of each patch of view v lies among the patches of view w.

    Args:
      target: ground truth.
      patches: of a view; they are square.

    Returns:
      Bilinear weights of the patches q around the place, which sum to 1, and whether it is seen:
      inside the image, not hidden and of known depth. No view sees itself.
    """
    views, height, width = target.depth.shape[1:]
    side = target.patch_side(patches)
    rows, columns = height // side, width // side
    middle = slice(side // 2, None, side)
    known = target.mask[:, :, middle, middle].reshape(-1, views, 1, patches)
    points = target.cam_points[:, :, middle, middle].reshape(-1, views, 1, patches, 3)
    relative = multiply(target.w2c[:, None], invert_pose(target.w2c)[:, :, None])
    pixels, z = project(transform_points(relative, points), target.intrinsics[:, None])

    # Comparisons with what is not a number, behind the camera, are false.
    u, v = pixels[..., 0], pixels[..., 1]
    inside = (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    u, v = jnp.where(inside, u, 0.0), jnp.where(inside, v, 0.0)
    sample = jnp.arange(len(z)).reshape(-1, 1, 1, 1)
    view = jnp.arange(views).reshape(1, 1, -1, 1)
    there = (sample, view, jnp.round(v).astype(jnp.int32), jnp.round(u).astype(jnp.int32))
    near = jnp.abs(z - target.depth[there]) < TOLERANCE * z
    other = ~jnp.eye(views, dtype=bool).reshape(1, views, views, 1)
    seen = known & inside & near & target.mask[there] & other

    down, along = _bilinear(v, side, rows), _bilinear(u, side, columns)
    weights = down[..., :, None] * along[..., None, :]
    return weights.reshape(*weights.shape[:-2], patches), seen


def _bilinear(pixel: Float[Array, "b v w p"], side: int, number: int) -> Float[Array, "b v w p n"]:
    """Weights of a row of patches around a pixel coordinate, the outer ones reaching outwards."""
    place = jnp.clip((pixel - (side - 1) / 2) / side, 0, number - 1)
    middles = jnp.arange(number, dtype=place.dtype).reshape(1, 1, 1, 1, -1)
    return jnp.maximum(0.0, 1 - jnp.abs(place[..., None] - middles))
