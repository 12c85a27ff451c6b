"""Points and camera frusta as one glTF 2.0 binary file (.glb)."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zipmap_jax.viz.colormaps import view_colors

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8

    from zipmap_jax.scene.points import PointCloud
    from zipmap_jax.scene.scene import Scene

# From OpenCV axes (y down, z forward) to glTF axes (y up, z backward), and back.
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
_POINTS, _LINES = 0, 1
_FLOAT, _UBYTE = 5126, 5121


def write_glb(scene: Scene, cloud: PointCloud, path: Path) -> None:
    """Writes the point cloud, one coloured frustum per view, and the cameras as glTF cameras.

    Points and frusta are rotated from the OpenCV axes of `scene` to the y-up axes of glTF, so that
    no node of a mesh needs a matrix, which some readers ignore. Colours are linear, as glTF
    requires for COLOR_0, and stored as normalised bytes, which all readers support. glTF cameras
    have a centred principal point, so only the frusta show an off-centre one.

    Args:
      scene: the cameras.
      cloud: the points.
      path: the file; an existing one is replaced.
    """
    scale = cloud.scale()
    buffer = _Buffer()
    nodes: list[dict[str, Any]] = []
    meshes: list[dict[str, Any]] = []
    lines = frustum_lines(scene, 0.05 * scale)
    colors = np.repeat(view_colors(len(scene)), lines.shape[1], axis=0)
    order = _whole_triangles(len(colors))
    for name, mode, positions, color in (
        ("points", _POINTS, cloud.positions, cloud.colors),
        ("camera frusta", _LINES, lines.reshape(-1, 3)[order], colors[order]),
    ):
        if len(positions):
            nodes.append({"name": name, "mesh": len(meshes)})
            vertices = positions * np.array([1, -1, -1], np.float32)
            primitive = {"mode": mode, "material": 0, "attributes": buffer.add(vertices, color)}
            meshes.append({"name": name, "primitives": [primitive]})
    for i, c2w in enumerate(scene.c2w):
        matrix = (_FLIP @ c2w @ _FLIP).T.ravel().tolist()
        nodes.append({"name": scene.names[i], "camera": i, "matrix": matrix})
    unlit = {"extensions": {"KHR_materials_unlit": {}}, "doubleSided": True}
    document = {
        "asset": {"version": "2.0", "generator": "zipmap-jax"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": meshes,
        "materials": [unlit],
        "cameras": [_camera(scene, i, 0.01 * scale) for i in range(len(scene))],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": buffer.size}],
    }
    # glTF forbids empty lists.
    _write(path, {key: value for key, value in document.items() if value != []}, buffer.parts)


def frustum_lines(scene: Scene, depth: float) -> Float[np.ndarray, "v 16 3"]:
    """Line segments of the camera frusta, as pairs of world points.

    Args:
      scene: the cameras; the frusta pass through the outer corners of the images.
      depth: z-depth of the far rectangle, in the scene's unit.

    Returns:
      Eight segments per view: four rays from the camera centre, then the rectangle.
    """
    size = np.array([image.shape[1::-1] for image in scene.images], np.float64).reshape(-1, 2)
    k = scene.intrinsics
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    pixel = corner * size[:, None] - 0.5
    ray = (pixel - k[:, None, :2, 2]) / np.stack([k[:, 0, 0], k[:, 1, 1]], -1)[:, None]
    camera = depth * np.concatenate([ray, np.ones_like(ray[..., :1])], -1)
    c2w = scene.c2w
    world = camera @ c2w[:, :3, :3].swapaxes(1, 2) + c2w[:, None, :3, 3]
    points = np.concatenate([c2w[:, None, :3, 3], world], 1)
    order = [0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1]
    return points[:, order].astype(np.float32)


def _whole_triangles(count: int) -> Int[np.ndarray, " n"]:
    """Numbers of the vertices of `count // 2` segments, the last one repeated to a multiple of 6.

    MeshLab reads lines as triangles, and past the end of the file if the last one is incomplete.
    """
    return np.r_[np.arange(count), np.tile([count - 2, count - 1], -count % 6 // 2)].astype(int)


class _Buffer:
    """The binary chunk: consecutive arrays, and the glTF records that describe them."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.size = 0

    def add(
        self, positions: Float[np.ndarray, "n 3"], colors: UInt8[np.ndarray, "n 3"]
    ) -> dict[str, int]:
        """Appends one vertex array and returns the attributes that refer to it."""
        bounds = {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()}
        opaque = np.full((len(colors), 1), 255, np.uint8)
        # Four components: every vertex attribute must start on a multiple of 4 bytes.
        rgba = np.concatenate([_LINEAR[colors], opaque], 1)
        position = self._append(
            positions.astype("<f4"), {"componentType": _FLOAT, "type": "VEC3", **bounds}
        )
        color = self._append(rgba, {"componentType": _UBYTE, "type": "VEC4", "normalized": True})
        return {"POSITION": position, "COLOR_0": color}

    def _append(self, array: np.ndarray, accessor: dict[str, Any]) -> int:
        data = array.tobytes()
        self.views.append(
            {"buffer": 0, "byteOffset": self.size, "byteLength": len(data), "target": 34962}
        )
        self.accessors.append({"bufferView": len(self.views) - 1, "count": len(array), **accessor})
        self.parts.append(data)
        self.size += len(data)
        return len(self.accessors) - 1


def _linear_table() -> np.ndarray:
    """Linear 8-bit values of the 256 sRGB values."""
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.round(255 * linear).astype(np.uint8)


_LINEAR = _linear_table()


def _camera(scene: Scene, view: int, near: float) -> dict[str, Any]:
    height, width = scene.images[view].shape[:2]
    fx, fy = scene.intrinsics[view, 0, 0], scene.intrinsics[view, 1, 1]
    perspective = {
        "yfov": 2 * math.atan(height / (2 * fy)),
        "aspectRatio": float(width / fx * fy / height),
        "znear": near,
    }
    return {"name": scene.names[view], "type": "perspective", "perspective": perspective}


def _write(path: Path, document: dict[str, Any], parts: list[bytes]) -> None:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    size = sum(len(part) for part in parts)
    with path.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + size))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", size, b"BIN\0"))
        file.writelines(parts)
