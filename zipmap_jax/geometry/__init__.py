"""Rotations, rigid poses, pinhole cameras, depth maps and rays, as pure functions.

Every function accepts NumPy or JAX arrays and returns arrays of the same library. Conventions:
OpenCV axes (x right, y down, z forward), world-to-camera poses `w2c`, intrinsics in pixels, integer
pixel centres, z-depth, quaternions (x, y, z, w).
"""

from zipmap_jax.geometry.align import Similarity, umeyama
from zipmap_jax.geometry.camera import (
    crop_intrinsics,
    fov_from_intrinsics,
    intrinsics_from,
    intrinsics_from_fov,
    project,
    scale_intrinsics,
)
from zipmap_jax.geometry.depth import unproject, unproject_to_world
from zipmap_jax.geometry.namespace import array_namespace
from zipmap_jax.geometry.pixel_map import PixelMap
from zipmap_jax.geometry.plausible import plausible_cameras
from zipmap_jax.geometry.pose import (
    compose_poses,
    decode_pose,
    encode_pose,
    homogeneous,
    invert_pose,
    pose_from,
    rebase_poses,
    relative_pose,
    transform_points,
)
from zipmap_jax.geometry.rays import RayKind, query_frame, ray_conditions, ray_directions
from zipmap_jax.geometry.rotation import (
    matrix_to_quaternion,
    multiply,
    nearest_rotation,
    quaternion_to_matrix,
)

__all__ = [
    "PixelMap",
    "RayKind",
    "Similarity",
    "array_namespace",
    "compose_poses",
    "crop_intrinsics",
    "decode_pose",
    "encode_pose",
    "fov_from_intrinsics",
    "homogeneous",
    "intrinsics_from",
    "intrinsics_from_fov",
    "invert_pose",
    "matrix_to_quaternion",
    "multiply",
    "nearest_rotation",
    "plausible_cameras",
    "pose_from",
    "project",
    "quaternion_to_matrix",
    "query_frame",
    "ray_conditions",
    "ray_directions",
    "rebase_poses",
    "relative_pose",
    "scale_intrinsics",
    "transform_points",
    "umeyama",
    "unproject",
    "unproject_to_world",
]
