"""Small renderings of coloured points and cameras in NumPy, for training logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from zipmap_jax.geometry import (
    intrinsics_from_fov,
    invert_pose,
    pose_from,
    project,
    transform_points,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8

_SUPERSAMPLING = 2
"""Factor on the size of a rendering before it is averaged, which smooths edges."""


def splat(
    points: Float[np.ndarray, "n 3"],
    colors: UInt8[np.ndarray, "n 3"],
    w2c: Float[np.ndarray, "4 4"],
    size: tuple[int, int],
    *,
    fov: float = 50.0,
    dot: int = 5,
    background: tuple[int, int, int] = (0, 0, 0),
    cameras: Float[np.ndarray, "v 4 4"] | None = None,
    camera_colors: UInt8[np.ndarray, "v 3"] | None = None,
    camera_size: float = 0.1,
) -> UInt8[np.ndarray, "h w 3"]:
    """Renders points as squares with occlusion, and cameras as wireframe pyramids on top.

    Args:
      points: world coordinates; points that are not finite or behind the viewer are left out.
      colors: sRGB colours of the points.
      w2c: world-to-camera pose of the viewer.
      size: (height, width) of the picture in pixels.
      fov: vertical field of view in degrees.
      dot: side of a square in half pixels.
      background: sRGB colour of the background.
      cameras: world-to-camera poses of the cameras that are drawn; None = no cameras.
      camera_colors: sRGB colours of the cameras; None = white.
      camera_size: depth of a pyramid in world units.

    Returns:
      The picture in sRGB.
    """
    height, width = _SUPERSAMPLING * size[0], _SUPERSAMPLING * size[1]
    intrinsics = _intrinsics(height, width, fov)
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = background
    pixels, depth = project(transform_points(w2c, points), intrinsics)
    inside = np.isfinite(pixels).all(-1) & (depth > 0)
    inside &= ((pixels > -dot) & (pixels < (width + dot, height + dot))).all(-1)
    corner = np.rint(pixels[inside] - (dot - 1) / 2).astype(np.int64)
    _paint(canvas, corner, depth[inside], colors[inside], dot)
    picture = Image.fromarray(canvas)
    if cameras is not None:
        lines = ImageDraw.Draw(picture)
        tints = np.full((len(cameras), 3), 255) if camera_colors is None else camera_colors
        for camera, tint in zip(cameras, tints, strict=True):
            fill = tuple(tint.tolist())
            for ends in _pyramid(camera, camera_size):
                segment, z = project(transform_points(w2c, ends), intrinsics)
                if (z > 0).all() and (np.abs(segment) < 10 * width).all():
                    lines.line([tuple(p) for p in segment], fill=fill, width=_SUPERSAMPLING)
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BOX))


def overview(points: Float[np.ndarray, "n 3"], back: float = 0.6, up: float = 0.5) -> np.ndarray:
    """Pose of a viewer behind and above the origin, directed at the median of the points.

    Args:
      points: one or more points in a camera frame (y down, z forward).
      back, up: distances from the origin, as fractions of the distance of the median.

    Returns:
      World-to-camera pose [4, 4].
    """
    target = np.median(points, axis=0).astype(np.float64)
    distance = max(float(np.linalg.norm(target)), 1e-6)
    eye = distance * np.array([0.0, -up, 0.0]) - back * target
    return look_at(eye, target)


def look_at(eye: Float[np.ndarray, " 3"], target: Float[np.ndarray, " 3"]) -> np.ndarray:
    """Pose of a viewer at `eye` directed at `target`, with -y of the world upwards.

    Args:
      eye: position of the viewer.
      target: point at the centre of the picture, different from `eye`.

    Returns:
      World-to-camera pose [4, 4].
    """
    forward = (target - eye) / np.linalg.norm(target - eye)
    down = np.array([0.0, 1.0, 0.0])
    if abs(forward @ down) > 0.999:
        down = np.array([0.0, 0.0, 1.0])
    right = np.cross(down, forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return pose_from(rotation, -rotation @ eye)


def _paint(
    canvas: UInt8[np.ndarray, "h w 3"],
    corner: Int[np.ndarray, "n 2"],
    depth: Float[np.ndarray, " n"],
    colors: UInt8[np.ndarray, "n 3"],
    dot: int,
) -> None:
    """Paints squares with their first pixel at `corner`, from the farthest to the nearest."""
    height, width = canvas.shape[:2]
    offsets = np.indices((dot, dot)).reshape(2, -1).T
    order = np.argsort(-depth, kind="stable")
    pixels = (corner[order, None] + offsets).reshape(-1, 2)
    point = np.repeat(order, len(offsets))
    inside = ((pixels >= 0) & (pixels < (width, height))).all(-1)
    column, row = pixels[inside].T
    canvas[row, column] = colors[point[inside]]  # the last assignment to a pixel is the nearest


def _pyramid(w2c: Float[np.ndarray, "4 4"], size: float) -> Float[np.ndarray, "8 2 3"]:
    """Edges of the view pyramid of a camera, in world coordinates."""
    tip = np.zeros(3)
    corners = size * np.array([[-0.7, -0.5, 1], [0.7, -0.5, 1], [0.7, 0.5, 1], [-0.7, 0.5, 1]])
    rim = np.stack([corners, np.roll(corners, 1, axis=0)], 1)
    sides = np.stack([np.broadcast_to(tip, corners.shape), corners], 1)
    return transform_points(invert_pose(np.asarray(w2c, np.float64)), np.concatenate([rim, sides]))


def _intrinsics(height: int, width: int, fov: float) -> Float[np.ndarray, "3 3"]:
    vertical = np.radians(fov)
    horizontal = 2 * np.arctan(np.tan(vertical / 2) * width / height)
    return intrinsics_from_fov(np.array([vertical, horizontal]), (height, width))
