"""Files of a `Scene`: point clouds, cameras, depth previews and a web page.

`write_all` writes a folder with all formats, `FORMATS` describes them, and each `write_` function
writes one of them.
"""

from __future__ import annotations

from zipmap_jax.export.bundle import write_all
from zipmap_jax.export.cameras import write_cameras
from zipmap_jax.export.depth_images import write_depth_images
from zipmap_jax.export.formats import FORMATS, Format, Request
from zipmap_jax.export.glb import write_glb
from zipmap_jax.export.html import write_html
from zipmap_jax.export.output import OutputError, check_output, existing_parent
from zipmap_jax.export.ply import read_ply, write_ply
from zipmap_jax.scene.npz import load_scene, save_scene
from zipmap_jax.scene.points import PointCloud, point_cloud

__all__ = [
    "FORMATS",
    "Format",
    "OutputError",
    "PointCloud",
    "Request",
    "check_output",
    "existing_parent",
    "load_scene",
    "point_cloud",
    "read_ply",
    "save_scene",
    "write_all",
    "write_cameras",
    "write_depth_images",
    "write_glb",
    "write_html",
    "write_ply",
]
