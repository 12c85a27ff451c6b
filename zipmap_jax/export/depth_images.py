"""Colour-mapped depth previews as PNG images."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from zipmap_jax.viz.colormaps import ColormapName, colormap_table

if TYPE_CHECKING:
    from jaxtyping import Float

    from zipmap_jax.scene.scene import Scene


def write_depth_images(
    scene: Scene, folder: Path, *, colormap: ColormapName = "dusk"
) -> list[Path]:
    """Writes one depth preview per view, at the size of the original image.

    The colour is linear in 1/depth: the last (bright) colour of the map corresponds to `near` and
    the first (dark) one to `far`. Both are in the file name in the scene's unit and are the 2 % and
    98 % quantiles of the view; depths outside are clipped. Unknown depth is transparent black.

    Args:
      scene: the reconstruction.
      folder: the output folder, created if absent; files are `0000_NAME.near0.52_far3.91.png`.
      colormap: see `zipmap_jax.viz.colormaps`.

    Returns:
      The files, in the order of the views.
    """
    folder.mkdir(parents=True, exist_ok=True)
    palette = b"\0\0\0" + colormap_table(colormap)[1:].tobytes()
    paths = []
    for i, depth in enumerate(scene.depth):
        index, scale = _levels(depth)
        image = Image.fromarray(index)
        image.putpalette(palette)
        path = folder / f"{i:04d}_{file_stem(scene.names[i])}.{scale}.png"
        image.save(path, transparency=0, compress_level=4)
        paths.append(path)
    return paths


def file_stem(name: str) -> str:
    """A view's name without folders and suffix, in characters that every file system accepts.

    Args:
      name: name of the view.

    Returns:
      1 to 48 characters.
    """
    stem = PurePath(name.replace("\\", "/")).stem
    return re.sub(r"[^\w.-]+", "_", stem)[:48] or "view"


def _levels(depth: Float[np.ndarray, "h w"]) -> tuple[np.ndarray, str]:
    """Palette indices (0 = unknown, 1 = far, 255 = near) and the scale for the file name."""
    known = np.isfinite(depth) & (depth > 0)
    index = np.zeros(depth.shape, np.uint8)
    if not known.any():
        return index, "unknown"
    values = depth[known].astype(np.float32)
    near, far = (float(x) for x in np.percentile(values, [2, 98]))
    span = max(1 / near - 1 / far, 1e-12)
    index[known] = np.clip(1.5 + 254 * (1 / values - 1 / far) / span, 1, 255).astype(np.uint8)
    return index, f"near{_short(near)}_far{_short(far)}"


def _short(value: float) -> str:
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")
