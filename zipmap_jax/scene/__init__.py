"""The record of a reconstruction, its coloured point cloud and its file.

A `Scene` holds cameras, depth, confidence and images at the original size of every image, as NumPy
arrays. `point_cloud` selects and unprojects its confident pixels; `save_scene` and `load_scene`
write and read it as scene.npz.
"""

from zipmap_jax.scene.npz import load_scene, save_scene
from zipmap_jax.scene.points import PointCloud, confidence_threshold, depth_edges, point_cloud
from zipmap_jax.scene.scene import Scene

__all__ = [
    "PointCloud",
    "Scene",
    "confidence_threshold",
    "depth_edges",
    "load_scene",
    "point_cloud",
    "save_scene",
]
