"""Point clouds as binary little-endian PLY files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.scene.points import PointCloud

_VERTEX = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("red", "u1"),
        ("green", "u1"),
        ("blue", "u1"),
        ("confidence", "<f4"),
    ]
)
_TYPES = {"float": "<f4", "float32": "<f4", "double": "<f8", "float64": "<f8"}
_TYPES |= {"uchar": "u1", "uint8": "u1", "char": "i1", "int8": "i1"}
_TYPES |= {"ushort": "<u2", "uint16": "<u2", "short": "<i2", "int16": "<i2"}
_TYPES |= {"uint": "<u4", "uint32": "<u4", "int": "<i4", "int32": "<i4"}


def write_ply(cloud: PointCloud, path: Path) -> None:
    """Writes a point cloud: x y z (float), red green blue (uchar), confidence (float) per vertex.

    Args:
      cloud: the points; their axes and unit are kept.
      path: the file; an existing one is replaced.
    """
    vertices = np.empty(len(cloud), _VERTEX)
    for i, name in enumerate("xyz"):
        vertices[name] = cloud.positions[:, i]
    for i, name in enumerate(("red", "green", "blue")):
        vertices[name] = cloud.colors[:, i]
    vertices["confidence"] = cloud.confidence
    properties = "\n".join(
        f"property {'uchar' if _VERTEX[name] == np.uint8 else 'float'} {name}"
        for name in _VERTEX.names or ()
    )
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        "comment zipmap-jax: OpenCV axes (x right, y down, z forward) of the first camera\n"
        f"element vertex {len(cloud)}\n{properties}\nend_header\n"
    )
    with path.open("wb") as file:
        file.write(header.encode("ascii"))
        file.write(vertices.tobytes())


def read_ply(path: Path) -> np.ndarray:
    """Reads the vertices of a binary little-endian PLY file.

    Args:
      path: the file, whose first element is `vertex`, without list properties.

    Returns:
      A structured array with one field per property.

    Raises:
      UserError: the file has another format or is truncated.
    """
    data = path.read_bytes()
    head, mark, body = data.partition(b"end_header\n")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    if not mark or lines[:1] != [["ply"]] or ["format", "binary_little_endian", "1.0"] not in lines:
        raise UserError(f"{path} is not a binary little-endian PLY file; convert it first.")
    try:
        dtype, count = _vertices([line for line in lines if line], path)
    except (ValueError, IndexError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} has a damaged header ({error}); write it again.") from error
    if count < 0 or len(body) < count * dtype.itemsize:
        raise UserError(f"{path} ends before its {count} vertices; write it again.")
    return np.frombuffer(body, dtype, count)


def _vertices(lines: list[list[str]], path: Path) -> tuple[np.dtype, int]:
    """Type and number of the vertices that the header describes."""
    elements = [i for i, line in enumerate(lines) if line[:1] == ["element"]]
    if not elements or lines[elements[0]][1] != "vertex":
        raise UserError(f"{path} does not start with its vertices; write them first.")
    end = elements[1] if len(elements) > 1 else len(lines)
    properties = [line for line in lines[elements[0] : end] if line[0] == "property"]
    unknown = [line for line in properties if len(line) != 3 or line[1] not in _TYPES]
    if unknown:
        raise UserError(f"{path} has the property {' '.join(unknown[0])!r}; only numbers are read.")
    return np.dtype([(n, _TYPES[kind]) for _, kind, n in properties]), int(lines[elements[0]][2])
