"""Rigid poses and their nine-number encoding.

Poses are 4 x 4 world-to-camera matrices `w2c` in OpenCV axes (x right, y down, z forward):
`x_camera = R x_world + t`. Functions that only read a pose also accept its upper three rows,
[..., 3, 4].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.geometry.camera import fov_from_intrinsics, intrinsics_from_fov
from zipmap_jax.geometry.namespace import array_namespace
from zipmap_jax.geometry.rotation import matrix_to_quaternion, multiply, quaternion_to_matrix

if TYPE_CHECKING:
    from jaxtyping import Float

    from zipmap_jax.geometry.namespace import Array


def pose_from(
    rotation: Float[Array, "*b 3 3"], translation: Float[Array, "*b 3"]
) -> Float[Array, "*b 4 4"]:
    """Homogeneous matrices of rotations and translations, `[[R, t], [0, 1]]`.

    Args:
      rotation: R.
      translation: t.

    Returns:
      4 x 4 matrices, in the unit of `translation`.
    """
    xp = array_namespace(rotation, translation)
    return homogeneous(xp.concatenate([rotation, translation[..., None]], axis=-1))


def homogeneous(pose: Float[Array, "*b r 4"]) -> Float[Array, "*b 4 4"]:
    """Appends the row (0, 0, 0, 1) to 3 x 4 poses and returns 4 x 4 poses unchanged.

    Args:
      pose: 3 x 4 or 4 x 4 matrices.

    Returns:
      4 x 4 matrices.

    Raises:
      ValueError: the last two axes are neither 3 x 4 nor 4 x 4.
    """
    if pose.shape[-2:] == (4, 4):
        return pose
    if pose.shape[-2:] != (3, 4):
        raise ValueError(f"A pose must be 3x4 or 4x4, got shape {tuple(pose.shape)}; reshape it.")
    xp = array_namespace(pose)
    last = xp.broadcast_to(
        xp.asarray([[0.0, 0.0, 0.0, 1.0]], dtype=pose.dtype), (*pose.shape[:-2], 1, 4)
    )
    return xp.concatenate([pose, last], axis=-2)


def invert_pose(pose: Float[Array, "*b r 4"]) -> Float[Array, "*b 4 4"]:
    """Inverse of rigid poses in closed form, `[R | t]^-1 = [R^T | -R^T t]`.

    Args:
      pose: 3 x 4 or 4 x 4 matrices with orthonormal R.

    Returns:
      4 x 4 matrices.
    """
    xp = array_namespace(pose)
    transposed = xp.swapaxes(pose[..., :3, :3], -1, -2)
    return pose_from(transposed, -multiply(transposed, pose[..., :3, 3:])[..., 0])


def compose_poses(
    second: Float[Array, "*#b _ 4"], first: Float[Array, "*#b _ 4"]
) -> Float[Array, "*b 4 4"]:
    """Product of rigid poses, `second @ first`.

    Args:
      second: the poses applied last, 3 x 4 or 4 x 4 matrices.
      first: the poses applied first, likewise.

    Returns:
      4 x 4 matrices.
    """
    rotation = second[..., :3, :3]
    moved = multiply(rotation, first[..., :3, :])
    return pose_from(moved[..., :3], moved[..., 3] + second[..., :3, 3])


def relative_pose(
    target: Float[Array, "*b r 4"], source: Float[Array, "*b r 4"]
) -> Float[Array, "*b 4 4"]:
    """Relative pose from the source camera's frame to the target camera's, `target source^-1`.

    Args:
      target: world-to-camera poses of the target cameras.
      source: world-to-camera poses of the source cameras.

    Returns:
      4 x 4 matrices M with `x_target = M x_source`.
    """
    xp = array_namespace(target, source)
    rotation = multiply(target[..., :3, :3], xp.swapaxes(source[..., :3, :3], -1, -2))
    translation = target[..., :3, 3] - multiply(rotation, source[..., :3, 3:])[..., 0]
    return pose_from(rotation, translation)


def rebase_poses(w2c: Float[Array, "*b v r 4"], view: int = 0) -> Float[Array, "*b v 4 4"]:
    """Changes the world frame to that of one camera, whose pose becomes the identity.

    Args:
      w2c: world-to-camera poses.
      view: index of that camera among the views.

    Returns:
      World-to-camera poses with respect to the new world frame.
    """
    xp = array_namespace(w2c)
    origin = xp.broadcast_to(w2c[..., view : view + 1, :, :], w2c.shape)
    return relative_pose(w2c, origin)


def transform_points(
    pose: Float[Array, "*b r 4"], points: Float[Array, "*b *n 3"]
) -> Float[Array, "*b *n 3"]:
    """Applies poses to points, `R x + t`.

    Args:
      pose: 3 x 4 or 4 x 4 matrices.
      points: points in the unit of `pose`; their leading axes are those of `pose`, and any number
        of axes may follow.

    Returns:
      The transformed points.
    """
    extra = points.ndim - 1 - (pose.ndim - 2)
    lead = (*pose.shape[:-2], *(1,) * extra)
    columns = [pose[..., :3, j].reshape(*lead, 3) for j in range(4)]
    x, y, z = (points[..., j : j + 1] for j in range(3))
    return x * columns[0] + y * columns[1] + z * columns[2] + columns[3]


def encode_pose(
    w2c: Float[Array, "*b r 4"], intrinsics: Float[Array, "*b 3 3"], size: tuple[int, int]
) -> Float[Array, "*b 9"]:
    """Nine-number encoding of a camera: translation, quaternion xyzw, fields of view.

    The encoding omits the principal point and assumes it at the centre of the image.

    Args:
      w2c: world-to-camera poses.
      intrinsics: intrinsic matrices, in pixels of images of `size`.
      size: (height, width) in pixels.

    Returns:
      Translation (3) in the unit of `w2c`, quaternion (x, y, z, w) with w >= 0, vertical and
      horizontal field of view in radians.

    Source: ZipMap (arXiv 2603.04385), camera head; "absT_quaR_FoV" in the reference.
    """
    xp = array_namespace(w2c, intrinsics)
    quaternion = matrix_to_quaternion(w2c[..., :3, :3])
    fov = fov_from_intrinsics(intrinsics, size)
    return xp.concatenate([w2c[..., :3, 3], quaternion, fov], axis=-1)


def decode_pose(
    encoding: Float[Array, "*b 9"], size: tuple[int, int]
) -> tuple[Float[Array, "*b 4 4"], Float[Array, "*b 3 3"]]:
    """Camera of a nine-number encoding, whose quaternion may have any length.

    Args:
      encoding: encoding of `encode_pose` or of a camera head.
      size: (height, width) in pixels of the images that the intrinsics belong to.

    Returns:
      World-to-camera poses, and intrinsics in pixels with a centred principal point.

    Source: ZipMap (arXiv 2603.04385), camera head; "absT_quaR_FoV" in the reference.
    """
    w2c = pose_from(quaternion_to_matrix(encoding[..., 3:7]), encoding[..., :3])
    return w2c, intrinsics_from_fov(encoding[..., 7:9], size)
