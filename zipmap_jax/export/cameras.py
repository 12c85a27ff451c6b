"""cameras.json: the cameras of a scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from zipmap_jax.scene.scene import Scene


def cameras(scene: Scene) -> dict[str, Any]:
    """The cameras of a scene as JSON-serialisable data.

    Args:
      scene: the reconstruction.

    Returns:
      Keys `axes`, `units`, `pixels` (descriptions of the conventions), `model`, `network_size`, and
      `views`: a list with `name`, `width`, `height` (pixels of the original image), `fx fy cx cy`
      (pixels of that image), `w2c`, `c2w` (4x4, row by row) and `time` (seconds, or null).
    """
    return {
        "axes": "OpenCV: x right, y down, z forward; the world frame is that of the first camera",
        "units": "lengths in the scene's own arbitrary unit, time in seconds",
        "pixels": "fx fy cx cy in pixels of the original image of width x height; "
        "the centre of the top left pixel is at (0, 0)",
        "model": scene.model,
        "network_size": dict(zip(("height", "width"), scene.network_size, strict=True)),
        "views": [_view(scene, i, c2w) for i, c2w in enumerate(scene.c2w)],
    }


def write_cameras(scene: Scene, path: Path) -> None:
    """Writes `cameras(scene)` as JSON, one view per line.

    Args:
      scene: the reconstruction.
      path: the file; an existing one is replaced.
    """
    document = cameras(scene)
    views = ",\n  ".join(json.dumps(view, allow_nan=False) for view in document.pop("views"))
    head = json.dumps(document, indent=1, allow_nan=False).removesuffix("\n}")
    path.write_text(f'{head},\n "views": [\n  {views}\n ]\n}}\n', encoding="utf-8")


def _view(scene: Scene, i: int, c2w: Float[np.ndarray, "4 4"]) -> dict[str, Any]:
    height, width = scene.original_size(i)
    k = scene.original_intrinsics(i)
    return {
        "name": scene.names[i],
        "width": width,
        "height": height,
        "fx": float(k[0, 0]),
        "fy": float(k[1, 1]),
        "cx": float(k[0, 2]),
        "cy": float(k[1, 2]),
        "w2c": scene.w2c[i].tolist(),
        "c2w": c2w.tolist(),
        "time": None if scene.times is None else float(scene.times[i]),
    }
