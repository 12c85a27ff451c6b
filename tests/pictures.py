"""Frames and network images of short inputs, all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zipmap_jax.geometry.pixel_map import PixelMap
from zipmap_jax.images.decode import Frame
from zipmap_jax.images.frames import FrameReader, NetworkImage, stacked
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.preparation import CropOrPad
from zipmap_jax.images.sources import list_sources
from zipmap_jax.structs import Progress


def read_frames(
    inputs: Any,
    *,
    work: Callable[[Frame], Any] = lambda frame: None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Frame]:
    """Reads all frames at their original size; `options` are those of `ReadOptions`."""
    read = ReadOptions(**options)
    with FrameReader(list_sources(inputs, read), read, work, progress) as reader:
        return [frame for frame, _ in reader]


def fit_all(
    images: Sequence[np.ndarray], size: int, mode: str = "crop", patch: int = 14
) -> tuple[np.ndarray, list[PixelMap]]:
    """Makes network images of one common size, and their pixel maps."""
    preparation = CropOrPad(patch)
    networks = [NetworkImage(*preparation.fit(image, size, mode)) for image in images]
    return stacked(preparation, networks)
