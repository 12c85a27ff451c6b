"""Photographs, videos and arrays as network images, and the way back to the original pixels.

`list_sources` lists the frames that a user's inputs name, `network_frames` decodes them ahead of
their use and fits them to the network, and `depth_to_original` maps predictions to the pixels of
the original image. The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.images.decode import Frame, UniqueNames, from_array, image_size, read_image
    from zipmap_jax.images.frames import FrameReader, NetworkImage, network_frames, stacked
    from zipmap_jax.images.options import ReadOptions
    from zipmap_jax.images.preparation import CropOrPad
    from zipmap_jax.images.resample import depth_to_original
    from zipmap_jax.images.resize import Mode, fit, network_shape, resized_shape
    from zipmap_jax.images.sources import ImageSource, list_sources, probe_sizes
    from zipmap_jax.images.video import video_frames
    from zipmap_jax.images.video_index import DamagedVideoError, list_frames

__all__ = [
    "CropOrPad",
    "DamagedVideoError",
    "Frame",
    "FrameReader",
    "ImageSource",
    "Mode",
    "NetworkImage",
    "ReadOptions",
    "UniqueNames",
    "depth_to_original",
    "fit",
    "from_array",
    "image_size",
    "list_frames",
    "list_sources",
    "network_frames",
    "network_shape",
    "probe_sizes",
    "read_image",
    "resized_shape",
    "stacked",
    "video_frames",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
