"""Photographs, videos and arrays as network images, and the way back to the original pixels.

`list_sources` lists the frames that a user's inputs name, `network_frames` decodes them ahead of
their use and fits them to the network, and `depth_to_original` maps predictions to the pixels of
the original image. The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.images.decode import Frame, UniqueNames, from_array, image_size, read_image
    from zipmap_jax.images.frames import FrameReader, NetworkImage, network_frames, stacked
    from zipmap_jax.images.options import ReadOptions
    from zipmap_jax.images.preparation import CropOrPad
    from zipmap_jax.images.resample import depth_to_original
    from zipmap_jax.images.resize import Mode, fit, network_shape, resized_shape
    from zipmap_jax.images.sources import ImageSource, list_sources, probe_sizes
    from zipmap_jax.images.video import TruncatedVideoError, count_frames, video_frames

_HOMES = {
    "CropOrPad": "preparation",
    "Frame": "decode",
    "FrameReader": "frames",
    "ImageSource": "sources",
    "Mode": "resize",
    "NetworkImage": "frames",
    "ReadOptions": "options",
    "TruncatedVideoError": "video",
    "UniqueNames": "decode",
    "count_frames": "video",
    "depth_to_original": "resample",
    "fit": "resize",
    "from_array": "decode",
    "image_size": "decode",
    "list_sources": "sources",
    "network_frames": "frames",
    "network_shape": "resize",
    "probe_sizes": "sources",
    "read_image": "decode",
    "resized_shape": "resize",
    "stacked": "frames",
    "video_frames": "video",
}

__all__ = [
    "CropOrPad",
    "Frame",
    "FrameReader",
    "ImageSource",
    "Mode",
    "NetworkImage",
    "ReadOptions",
    "TruncatedVideoError",
    "UniqueNames",
    "count_frames",
    "depth_to_original",
    "fit",
    "from_array",
    "image_size",
    "list_sources",
    "network_frames",
    "network_shape",
    "probe_sizes",
    "read_image",
    "resized_shape",
    "stacked",
    "video_frames",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
