"""Replacement of impossible cameras, so that a failed view does not affect the other views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.geometry.namespace import array_namespace
from zipmap_jax.geometry.pose import pose_from
from zipmap_jax.geometry.rotation import multiply

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from zipmap_jax.geometry.namespace import Array

MIN_FOV = float(np.radians(1.0))
MAX_FOV = float(np.radians(179.0))
"""Range of fields of view in radians."""
PARTS = ("translation", "rotation", "field of view")
"""Parts of a camera, in the order of the last axis of the flags."""
_ROTATION_ERROR = 2e-2  # of R R^T; rotations computed in bf16 are off by less
_FOCAL_ERROR = 1e-5  # larger than the rounding of fp32 at the limits


def plausible_cameras(
    w2c: Float[Array, "*b 4 4"], intrinsics: Float[Array, "*b 3 3"], size: tuple[int, ...]
) -> tuple[Float[Array, "*b 4 4"], Float[Array, "*b 3 3"], Bool[Array, "*b 3"]]:
    """Replaces the impossible parts of cameras.

    Translations that are not finite become 0; matrices that are not rotations become the identity;
    fields of view are clamped to [1, 179] degrees (the ReLU of a camera head may return 0); a
    principal point that is not finite becomes the centre of the image.

    Args:
      w2c: world-to-camera poses.
      intrinsics: intrinsic matrices without skew, in pixels of images of `size`.
      size: (height, width) in pixels.

    Returns:
      Poses, intrinsics, and flags of the replaced `PARTS` of each camera.
    """
    xp = array_namespace(w2c, intrinsics)
    rotation, translation = w2c[..., :3, :3], w2c[..., :3, 3]
    located = xp.isfinite(translation).all(-1)
    finite = xp.isfinite(rotation).all((-2, -1))
    rotation = xp.where(finite[..., None, None], rotation, xp.zeros_like(rotation))
    x, y, z = (rotation[..., i, :] for i in range(3))
    determinant = xp.sum(xp.cross(x, y) * z, axis=-1)
    identity = xp.broadcast_to(xp.eye(3, dtype=rotation.dtype), rotation.shape)
    product = multiply(rotation, xp.swapaxes(rotation, -1, -2))
    orthogonal = xp.abs(product - identity).max((-2, -1)) < _ROTATION_ERROR
    rotates = orthogonal & (determinant > 0)
    pose = pose_from(
        xp.where(rotates[..., None, None], rotation, identity),
        xp.where(located[..., None], translation, xp.zeros_like(translation)),
    )

    sides = xp.asarray([size[1], size[0]], dtype=intrinsics.dtype)
    sides = xp.broadcast_to(sides, (*intrinsics.shape[:-2], 2))
    min_focal, max_focal = (sides / float(2 * np.tan(fov / 2)) for fov in (MAX_FOV, MIN_FOV))
    focal = xp.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], axis=-1)
    centre = xp.stack([intrinsics[..., 0, 2], intrinsics[..., 1, 2]], axis=-1)
    # A field of view that is 0 or not finite becomes the minimum.
    known = xp.isfinite(focal)
    limited = xp.clip(xp.where(known, focal, max_focal), min_focal, max_focal)
    change = xp.abs(limited - xp.where(known, focal, xp.zeros_like(focal)))
    kept = change <= _FOCAL_ERROR * limited
    focal = xp.where(kept, focal, limited)
    centred = xp.isfinite(centre)
    centre = xp.where(centred, centre, sides / 2)
    zero, one = xp.zeros_like(focal[..., 0]), xp.ones_like(focal[..., 0])
    rows = [
        xp.stack([focal[..., 0], zero, centre[..., 0]], axis=-1),
        xp.stack([zero, focal[..., 1], centre[..., 1]], axis=-1),
        xp.stack([zero, zero, one], axis=-1),
    ]
    replaced = xp.stack([~located, ~rotates, ~(kept & centred).all(-1)], axis=-1)
    return pose, xp.stack(rows, axis=-2), replaced
