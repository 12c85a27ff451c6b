"""Supervision of single patches by the rays of the cameras.

A camera corresponds to one token per view, which provides a weak training signal from random
weights; its rays provide one signal per patch. The loss is not part of the published recipe.

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
"""Numbers predicted per patch: the direction of its ray, and the centre of its camera."""
RaysFrame = Literal["mean", "first"]
"""Frame of the rays: the mean of the cameras, or the first camera, as streaming models need."""
_CENTRE_WEIGHT = 0.5
_MAX_CENTRE = 2.0


def patch_ray_loss(
    predicted: Float[Array, "b v l p 6"], target: Target, frame: RaysFrame = "mean"
) -> Float[Array, ""]:
    """L1 distance of the rays predicted from patches; the weight doubles with every layer.

    Args:
      predicted: direction and centre per patch of every view, row by row, in some layers.
      target: ground truth.
      frame: frame of the rays, see `patch_rays`.

    Returns:
      The loss; the last layer has weight 1.
    """
    truth = patch_rays(target, predicted.shape[3], frame)
    error = jnp.abs(predicted - truth[:, :, None])
    each = jnp.mean(error[..., :3], (0, 1, 3, 4)) + _CENTRE_WEIGHT * jnp.mean(
        error[..., 3:], (0, 1, 3, 4)
    )
    layers = predicted.shape[2]
    return jnp.sum(each * 0.5 ** jnp.arange(layers - 1, -1, -1, dtype=each.dtype))


def patch_rays(target: Target, patches: int, frame: RaysFrame = "mean") -> Float[Array, "b v p 6"]:
    """Unit direction of the ray through the middle of each patch, and the camera's centre.

    Centres are clipped to two units on each axis.

    Args:
      target: ground truth.
      patches: number of square patches of a view.
      frame: "mean" uses the mean of all cameras' orientations, with the mean of their centres as
        its origin, and does not depend on the order of the views; "first" uses the first camera.

    Returns:
      Direction and centre per patch, in the unit of the target.
    """
    side = target.patch_side(patches)
    middle = slice(side // 2, None, side)
    pixels = unproject(jnp.ones_like(target.depth), target.intrinsics)[:, :, middle, middle]
    rays = pixels / safe_norm(pixels)[..., None]
    camera = homogeneous(target.w2c)
    frame_cameras = camera if frame == "mean" else camera[:, :1]
    mean = nearest_rotation(jnp.mean(frame_cameras[..., :3, :3], axis=1))
    origin = jnp.mean(invert_pose(frame_cameras)[..., :3, 3], axis=1, keepdims=True)
    to_world = invert_pose(camera)
    to_frame = multiply(mean[:, None], to_world[..., :3, :3])
    centres = multiply(mean[:, None], (to_world[..., :3, 3] - origin)[..., None])[..., 0]
    centres = jnp.clip(centres, -_MAX_CENTRE, _MAX_CENTRE)
    rays = multiply(to_frame[:, :, None, None], rays[..., None])[..., 0]
    rays = rays.reshape(*rays.shape[:2], patches, 3)
    return jnp.concatenate([rays, jnp.broadcast_to(centres[:, :, None], rays.shape)], axis=-1)
