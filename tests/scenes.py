"""A small synthetic scene: a textured room with a ball and a box, ray-cast in NumPy."""

from __future__ import annotations

import numpy as np

from zipmap_jax.scene.scene import Scene

# Room coordinates: x right, y down, z forward; the floor is y = 1, the ceiling y = -1.5.
_ROOM = np.array([[-2.5, -1.5, -3.0], [2.5, 1.0, 3.0]])
_BOX = np.array([[-1.5, 0.3, 1.0], [-0.5, 1.0, 2.0]])
_BALL, _RADIUS = np.array([0.6, 0.45, 1.2]), 0.55
_PAINTS = ((0.9, 0.5, 0.3), (0.35, 0.6, 0.8), (0.85, 0.8, 0.6), (0.5, 0.7, 0.45))


def room(
    views: int = 5,
    size: tuple[int, int] = (120, 160),
    *,
    mixed: bool = False,
    times: bool = False,
    border: int = 0,
) -> Scene:
    """A scene with exact depth and cameras.

    Args:
      views: number of cameras, on an arc that looks at the middle of the room.
      size: (height, width) of the images.
      mixed: whether every second image is in portrait format.
      times: whether the views have times, as in a video.
      border: rows at the top and bottom of unknown depth, as after a crop.
    """
    poses = [_look_at(views, i) for i in range(views)]
    first = np.linalg.inv(poses[0])
    w2c, intrinsics, depths, confidences, images = [], [], [], [], []
    for i, c2w in enumerate(poses):
        height, width = size[::-1] if mixed and i % 2 else size
        k = np.array([[0.8 * max(size), 0, width / 2], [0, 0.8 * max(size), height / 2], [0, 0, 1]])
        depth, color, confidence = _cast(k, c2w, height, width)
        if border:
            for edge in (slice(None, border), slice(height - border, None)):
                depth[edge], confidence[edge] = np.nan, 0
        w2c.append(np.linalg.inv(first @ c2w))
        intrinsics.append(k)
        depths.append(depth)
        confidences.append(confidence)
        images.append(color)
    return Scene(
        w2c=np.stack(w2c).astype(np.float32),
        intrinsics=np.stack(intrinsics).astype(np.float32),
        depth=tuple(depths),
        confidence=tuple(confidences),
        images=tuple(images),
        names=tuple(f"IMG_{i}.jpg" for i in range(views)),
        times=tuple(0.5 * i for i in range(views)) if times else None,
        network_size=size,
        model="tiny",
    )


def _look_at(views: int, i: int) -> np.ndarray:
    angle = 1.1 * (i / max(views - 1, 1) - 0.5)
    eye = np.array([2.2 * np.sin(angle), -0.45, -2.4 * np.cos(angle)])
    forward = np.array([0, 0.3, 0.9]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(forward, right), forward, eye], -1)
    return pose


def _cast(k: np.ndarray, c2w: np.ndarray, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Depth, colour and confidence of one view."""
    v, u = np.mgrid[:height, :width]
    ray = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones(u.shape)], -1)
    # Not normalised: the distance along a ray is then the z-depth.
    ray = ray @ c2w[:3, :3].T
    eye = c2w[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        room_hit = ((_ROOM[:, None, None] - eye) / ray).max(0).min(-1)
        slab = np.sort((_BOX[:, None, None] - eye) / ray, axis=0)
        enter, leave = slab[0].max(-1), slab[1].min(-1)
    box_hit = np.where((enter < leave) & (enter > 0), enter, np.inf)
    a, b = (ray**2).sum(-1), ray @ (eye - _BALL)
    root = b**2 - a * (((eye - _BALL) ** 2).sum() - _RADIUS**2)
    ball_hit = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    hits = np.stack([room_hit, box_hit, ball_hit])
    which, depth = hits.argmin(0), hits.min(0)
    point = eye + ray * depth[..., None]
    base = np.array([*_PAINTS[:3]])[which]
    floor = (which == 0) & (point[..., 1] > 0.99)
    base[floor] = _PAINTS[3]
    checks = (np.floor(point * 2.0 + 1e-3).astype(int).sum(-1) & 1) * 0.35 + 0.65
    waves = 0.9 + 0.1 * np.sin(9 * point).prod(-1)
    light = np.clip(1.25 - 0.13 * np.linalg.norm(point - [0, -1, 0.5], axis=-1), 0.3, 1.1)
    color = np.clip(base * (checks * waves * light)[..., None], 0, 1)
    confidence = 1 + 6 / (0.3 + depth) * (0.7 + 0.3 * np.cos(3 * u / width - 1.5))
    return (
        depth.astype(np.float32),
        (255 * color).astype(np.uint8),
        confidence.astype(np.float32),
    )
