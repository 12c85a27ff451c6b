"""What single patches can say of the cameras: where each looks and from where.

A camera is one token a view, which says little to a network that starts from random weights; every
patch of the view looks somewhere. No part of the published recipe.

References: J. Zhang et al., Cameras as rays (2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import jax.numpy as jnp

from zipmap_jax.geometry import homogeneous, invert_pose, multiply, nearest_rotation, unproject
from zipmap_jax.losses.robust import safe_norm

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.losses.target import Target

NUMBERS = 6
"""That a patch says: the direction of its ray, and the place it starts from."""
Frame = Literal["mean", "first"]
"""Which cameras rays are told in: their mean, or the first, for models that see one at a time."""
_CENTRE_WEIGHT = 0.5
_FARTHEST = 2.0


def patch_ray_loss(
    said: Float[Array, "b v l p 6"], target: Target, frame: Frame = "mean"
) -> Float[Array, ""]:
    """L1 distance of what patches say of their rays, the last layer counting most.

    Args:
      said: by the patches of every view, row by row, in some layers: a direction and a place.
      target: ground truth.
      frame: see `patch_rays`.
    """
    truth = patch_rays(target, said.shape[3], frame)
    error = jnp.abs(said - truth[:, :, None])
    each = jnp.mean(error[..., :3], (0, 1, 3, 4)) + _CENTRE_WEIGHT * jnp.mean(
        error[..., 3:], (0, 1, 3, 4)
    )
    layers = said.shape[2]
    return jnp.sum(each * 0.5 ** jnp.arange(layers - 1, -1, -1, dtype=each.dtype))


def patch_rays(target: Target, patches: int, frame: Frame = "mean") -> Float[Array, "b v p 6"]:
    """Unit direction of the ray through the middle of each patch, and the camera's centre.

    Centres are clipped to two units on each axis.

    Args:
      target: ground truth.
      patches: of a view; they are square.
      frame: "mean" is one that no order of the views changes, the mean of all cameras' orientations
        with the mean of their centres as its origin; "first" that of the first camera.
    """
    side = target.patch_side(patches)
    middle = slice(side // 2, None, side)
    pixels = unproject(jnp.ones_like(target.depth), target.intrinsics)[:, :, middle, middle]
    rays = pixels / safe_norm(pixels)[..., None]
    camera = homogeneous(target.w2c)
    among = camera if frame == "mean" else camera[:, :1]
    mean = nearest_rotation(jnp.mean(among[..., :3, :3], axis=1))
    origin = jnp.mean(invert_pose(among)[..., :3, 3], axis=1, keepdims=True)
    to_world = invert_pose(camera)
    turn = multiply(mean[:, None], to_world[..., :3, :3])
    centres = multiply(mean[:, None], (to_world[..., :3, 3] - origin)[..., None])[..., 0]
    centres = jnp.clip(centres, -_FARTHEST, _FARTHEST)
    rays = multiply(turn[:, :, None, None], rays[..., None])[..., 0]
    rays = rays.reshape(*rays.shape[:2], patches, 3)
    return jnp.concatenate([rays, jnp.broadcast_to(centres[:, :, None], rays.shape)], axis=-1)
