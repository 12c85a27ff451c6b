"""Unprojection of depth maps to points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.geometry.namespace import array_namespace
from zipmap_jax.geometry.pose import invert_pose, transform_points

if TYPE_CHECKING:
    from jaxtyping import Float

    from zipmap_jax.geometry.namespace import Array


def unproject(
    depth: Float[Array, "*b h w"], intrinsics: Float[Array, "*b 3 3"]
) -> Float[Array, "*b h w 3"]:
    """Camera-frame points of a depth map, `((u - cx) z / fx, (v - cy) z / fy, z)`.

    Parity: (u, v) are integer column and row indices without a half-pixel shift, as in the
    reference.

    Args:
      depth: z-depth, measured along the optical axis and not along the ray.
      intrinsics: intrinsic matrices, in pixels of the depth map.

    Returns:
      Points in the unit of `depth`; the origin where the depth is 0.
    """
    xp = array_namespace(depth, intrinsics)
    height, width = depth.shape[-2:]
    lead = (*intrinsics.shape[:-2], 1, 1)
    fx, fy = intrinsics[..., 0, 0].reshape(lead), intrinsics[..., 1, 1].reshape(lead)
    cx, cy = intrinsics[..., 0, 2].reshape(lead), intrinsics[..., 1, 2].reshape(lead)
    ones = (1,) * (len(lead) - 2)
    u = xp.arange(width, dtype=depth.dtype).reshape(*ones, 1, width)
    v = xp.arange(height, dtype=depth.dtype).reshape(*ones, height, 1)
    return xp.stack([(u - cx) * depth / fx, (v - cy) * depth / fy, depth], axis=-1)


def unproject_to_world(
    depth: Float[Array, "*b h w"],
    intrinsics: Float[Array, "*b 3 3"],
    w2c: Float[Array, "*b r 4"],
) -> Float[Array, "*b h w 3"]:
    """World points of a depth map, `R^T (x_camera - t)`.

    Args:
      depth: z-depth, measured along the optical axis.
      intrinsics: intrinsic matrices, in pixels of the depth map.
      w2c: world-to-camera poses, in the unit of `depth`.

    Returns:
      World points; the camera centre where the depth is 0.
    """
    return transform_points(invert_pose(w2c), unproject(depth, intrinsics))
