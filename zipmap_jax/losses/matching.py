"""Supervision of the fast weights' queries and keys by the correspondences between patches.

A query that is close to the keys of the patches that show the same place reads their values. From
random weights this is learned late from the camera loss, which does not depend on single patches;
the depth and poses of the ground truth supervise it directly. The loss is not part of the published
recipe.
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
"""Relative difference between the depth of a point and the depth map that hides the point."""


def matching_loss(
    queries: Float[Array, "b v l p c"], keys: Float[Array, "b w l p c"], target: Target
) -> Float[Array, ""]:
    """Cross entropy between query-key similarities and the true correspondences of patches.

    For each patch and each other view that shows its centre, a softmax over the patches of that
    view is compared with `correspondences`. The result is the mean over patches, views and layers,
    divided by the entropy of the uniform distribution: 1 for uniform similarities, whatever the
    number of patches.

    Args:
      queries: unit-length queries of the patches of every view, row by row, in some layers.
      keys: unit-length keys of the first w of these views, which are the zipped ones; likewise.
      target: ground truth of all views, with depth maps of the size of the images.

    Returns:
      The loss; 0 if no patch centre is shown by another view.
    """
    zipped = keys.shape[1]
    weights, visible = (x[:, :, :zipped] for x in correspondences(target, queries.shape[3]))
    cosines = jnp.einsum("bvlpc,bwlqc->lbvwpq", queries, keys, precision="highest")
    likelihood = jax.nn.log_softmax(SHARPNESS * cosines, axis=-1)
    entropy = -jnp.sum(weights[None] * likelihood, axis=-1)
    total = jnp.sum(jnp.where(visible, jnp.mean(entropy, axis=0), 0.0))
    return total / jnp.maximum(count(visible), 1) / math.log(max(queries.shape[3], 2))


def correspondences(
    target: Target, patches: int
) -> tuple[Float[Array, "b v w p q"], Bool[Array, "b v w p"]]:
    """Position of the centre of each patch of view v among the patches of view w.

    Args:
      target: ground truth.
      patches: number of square patches of a view.

    Returns:
      Bilinear weights of the patches q around the projected centre, which sum to 1, and whether the
      centre is visible: inside the image, not hidden and of known depth. A view has no
      correspondences with itself.
    """
    views, height, width = target.depth.shape[1:]
    side = target.patch_side(patches)
    rows, columns = height // side, width // side
    middle = slice(side // 2, None, side)
    known = target.mask[:, :, middle, middle].reshape(-1, views, 1, patches)
    points = target.cam_points[:, :, middle, middle].reshape(-1, views, 1, patches, 3)
    relative = multiply(target.w2c[:, None], invert_pose(target.w2c)[:, :, None])
    pixels, z = project(transform_points(relative, points), target.intrinsics[:, None])

    # Comparisons with NaN, which marks points behind the camera, are false.
    u, v = pixels[..., 0], pixels[..., 1]
    inside = (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    u, v = jnp.where(inside, u, 0.0), jnp.where(inside, v, 0.0)
    sample = jnp.arange(len(z)).reshape(-1, 1, 1, 1)
    view = jnp.arange(views).reshape(1, 1, -1, 1)
    pixel = (sample, view, jnp.round(v).astype(jnp.int32), jnp.round(u).astype(jnp.int32))
    unoccluded = jnp.abs(z - target.depth[pixel]) < TOLERANCE * z
    other = ~jnp.eye(views, dtype=bool).reshape(1, views, views, 1)
    visible = known & inside & unoccluded & target.mask[pixel] & other

    down, along = _bilinear(v, side, rows), _bilinear(u, side, columns)
    weights = down[..., :, None] * along[..., None, :]
    return weights.reshape(*weights.shape[:-2], patches), visible


def _bilinear(pixel: Float[Array, "b v w p"], side: int, number: int) -> Float[Array, "b v w p n"]:
    """Linear weights of a row of patches at a pixel coordinate, clamped to the outer centres."""
    position = jnp.clip((pixel - (side - 1) / 2) / side, 0, number - 1)
    centres = jnp.arange(number, dtype=position.dtype).reshape(1, 1, 1, 1, -1)
    return jnp.maximum(0.0, 1 - jnp.abs(position[..., None] - centres))
