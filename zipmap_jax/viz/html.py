"""A self-contained web page with the points and cameras of a scene."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zipmap_jax.viz.colormaps import view_colors

if TYPE_CHECKING:
    from jaxtyping import Int, UInt8

    from zipmap_jax.scene.points import PointCloud
    from zipmap_jax.scene.scene import Scene

# Largest level of the quantised logarithm of depth.
_MAX_LEVEL = 65535


def render_page(
    scene: Scene,
    cloud: PointCloud,
    *,
    conf_threshold: float = 50.0,
    title: str = "",
    notes: str = "",
) -> str:
    """HTML document with a WebGL2 viewer, points, cameras and thumbnails.

    Args:
      scene: cameras, images and names.
      cloud: the points of the page, of every confidence.
      conf_threshold: initial position of the confidence slider, in percent.
      title: headline; empty = the number of views.
      notes: text below the headline.

    Returns:
      HTML that needs neither a network nor other files.
    """
    cloud = _most_confident_first(cloud)
    title = title or f"Scene of {len(scene)} view{'s' if len(scene) != 1 else ''}"
    page = page_data(scene, cloud, conf_threshold=conf_threshold)
    page |= {"title": title, "notes": notes}
    parts = {
        "title": html.escape(title),
        # Inside <script>, only "<" can end the element.
        "scene": json.dumps(page, allow_nan=False).replace("<", "\\u003c"),
        "points": base64.b64encode(encode_points(cloud, *page["depth_range"])).decode(),
    }
    files = resources.files("zipmap_jax.viz") / "viewer"
    for name in ("viewer.css", "orbit.js", "draw.js", "viewer.js"):
        parts[name] = (files / name).read_text(encoding="utf-8")
    template = (files / "viewer.html").read_text(encoding="utf-8")
    # A single pass, so that inserted text is not searched for placeholders.
    return re.sub(r"\{\{([\w.]+)\}\}", lambda match: parts[match[1]], template)


def encode_points(cloud: PointCloud, near: float, far: float) -> bytes:
    """Packs points into 11 bytes each.

    A point is stored as its pixel and its depth level,
    `round(65535 log(z / near) / log(far / near))`. The relative error of the depth is below 0.01 %
    for ratios of far to near up to 400 000.

    Args:
      cloud: the points.
      near: smallest z-depth.
      far: largest z-depth.

    Returns:
      Little-endian uint16 arrays column [n], row [n], depth level [n], view [n], then uint8
      colours [n, 3].
    """
    level = np.zeros(len(cloud))
    if far > near:
        level = _MAX_LEVEL * np.log(np.maximum(cloud.depth, near) / near) / np.log(far / near)
    columns = (cloud.pixels[:, 0], cloud.pixels[:, 1], np.rint(np.minimum(level, _MAX_LEVEL)))
    packed = [np.asarray(c).astype("<u2").tobytes() for c in (*columns, cloud.view)]
    return b"".join(packed) + cloud.colors.tobytes()


def page_data(scene: Scene, cloud: PointCloud, *, conf_threshold: float) -> dict[str, Any]:
    """Data of the viewer apart from the packed points.

    Args:
      scene: cameras, images and names.
      cloud: the points, by descending confidence.
      conf_threshold: initial position of the confidence slider, in percent.

    Returns:
      JSON-serialisable values.
    """
    percent = np.arange(100)
    steps = np.percentile(cloud.confidence, percent) if len(cloud) else np.ones(100)
    # Number of points drawn at each percent: the points are sorted, so the slider shows a prefix.
    drawn = np.searchsorted(-cloud.confidence, -steps.astype(np.float32), side="right")
    start = int(np.clip(round(conf_threshold), 0, 99))
    shown = cloud.take(np.arange(int(drawn[start]))) if len(cloud) else cloud
    scale = shown.scale()
    near, far = (cloud.depth.min(), cloud.depth.max()) if len(cloud) else (1.0, 1.0)
    pixels = sum(int(np.isfinite(depth).sum()) for depth in scene.depth)
    return {
        "count": len(cloud),
        "depth_range": [float(near), float(far)],
        # Side in pixels of the square that a point represents.
        "pixels_per_point": float(np.sqrt(max(pixels / max(len(cloud), 1), 1.0))),
        "drawn": drawn.tolist(),
        "confidence": [round(float(x), 4) for x in steps],
        "start_percent": start,
        "scale": scale,
        "start": start_view(scene, shown, scale),
        "model": scene.model,
        "views": _views(scene),
    }


def start_view(scene: Scene, cloud: PointCloud, scale: float) -> dict[str, list[float]]:
    """Initial viewpoint: behind and above the first camera, directed at the median point.

    Args:
      scene: the cameras; the mean of their upward axes defines "above".
      cloud: the points shown initially.
      scale: size of the scene.

    Returns:
      `eye`, `target` and `up` in world coordinates.
    """
    c2w = scene.c2w
    up = -c2w[:, :3, 1].mean(0)
    if np.linalg.norm(up) < 0.1:
        up = -c2w[0, :3, 1]
    up = up / np.linalg.norm(up)
    centre, forward = c2w[0, :3, 3], c2w[0, :3, 2]
    target = np.median(cloud.positions, axis=0) if len(cloud) else centre + forward * scale
    offset = target - centre
    distance = max(float(np.linalg.norm(offset)), 0.3 * scale)
    direction = offset / distance if np.linalg.norm(offset) > 0.05 * scale else forward
    eye = centre + distance * (0.5 * up - 0.6 * direction)
    return {"eye": eye.tolist(), "target": target.tolist(), "up": up.tolist()}


def _most_confident_first(cloud: PointCloud) -> PointCloud:
    # The shuffle prevents points of equal confidence from disappearing view by view.
    cloud = cloud.take(np.random.default_rng(0).permutation(len(cloud)))
    return cloud.take(np.argsort(-cloud.confidence, kind="stable"))


def _views(scene: Scene) -> list[dict[str, Any]]:
    colors = view_colors(len(scene))
    thumbnails = _thumbnails(scene)
    c2w = scene.c2w
    views = []
    for i, image in enumerate(scene.images):
        k, depth = scene.intrinsics[i], scene.depth[i][np.isfinite(scene.depth[i])]
        views.append(
            {
                "name": scene.names[i],
                "time": None if scene.times is None else float(scene.times[i]),
                "width": image.shape[1],
                "height": image.shape[0],
                "k": [float(x) for x in (k[0, 0], k[1, 1], k[0, 2], k[1, 2])],
                "c2w": c2w[i].ravel().tolist(),
                "depth": float(np.median(depth)) if depth.size else None,
                "color": "#" + colors[i].tobytes().hex(),
                "thumbnail": thumbnails.get(i),
            }
        )
    return views


def _thumbnails(scene: Scene, max_count: int = 240) -> dict[int, str]:
    """JPEG data URLs by view, of at most `max_count` evenly spaced views."""
    count = len(scene)
    number = min(count, max_count)
    chosen: Int[np.ndarray, " n"] = np.unique(np.linspace(0, count - 1, number).round())
    side = 192 if count <= 40 else 112
    return {int(i): _thumbnail(scene.images[int(i)], side) for i in chosen}


def _thumbnail(image: UInt8[np.ndarray, "h w 3"], side: int) -> str:
    # Subsampling before the resize keeps the time for large photographs short.
    step = max(1, max(image.shape[:2]) // (4 * side))
    picture = Image.fromarray(np.ascontiguousarray(image[::step, ::step]))
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=72)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
