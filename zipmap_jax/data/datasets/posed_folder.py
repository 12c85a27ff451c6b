"""Reader of own recordings: a folder per scene, with images, depth maps and one file of cameras.

    ROOT/
      kitchen/
        cameras.json
        0000.jpg  0000.png
        ...

`cameras.json` holds `{"depth_scale": 0.001, "frames": [...]}` with one entry per frame, in the
order of capture:

    {"image": "0000.jpg", "depth": "0000.png", "w2c": [[...] x 3 or 4], "intrinsics": [[...] x 3]}

Depth is z-depth, 0 where unknown: `.npy` (any float or integer type) or 16-bit `.png`, multiplied
by `depth_scale` (1 if absent). Poses are world to camera in OpenCV axes, in the unit of the scaled
depth; intrinsics are in pixels with integer pixel centres. Image and depth have the same size.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from zipmap_jax.data.frame import PosedFrame
from zipmap_jax.data.sampling import VideoSampler
from zipmap_jax.errors import UserError
from zipmap_jax.geometry import homogeneous

if TYPE_CHECKING:
    from jaxtyping import Float

CAMERAS = "cameras.json"


@dataclasses.dataclass(frozen=True)
class _Sequence:
    """One `cameras.json`."""

    folder: Path
    images: tuple[str, ...]
    depths: tuple[str, ...]
    w2c: Float[np.ndarray, "f 4 4"]
    intrinsics: Float[np.ndarray, "f 3 3"]
    depth_scale: float


class PosedFolder:
    """Reader of the folders below `root` that have a `cameras.json`.

    A folder whose `cameras.json` cannot be read is left out with a warning.

    Args:
      root: folder of the scenes.

    Raises:
      UserError: no folder is usable.
    """

    name = "posed_folder"
    sampler = VideoSampler(max_interval=8, video_prob=0.8)

    def __init__(self, root: Path) -> None:
        self._sequences = []
        for file in sorted(root.glob(f"*/{CAMERAS}")):
            try:
                self._sequences.append(_read_cameras(file))
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = str(error) or type(error).__name__
                warnings.warn(f"left out: {file} is broken ({reason})", stacklevel=2)
        if not self._sequences:
            raise UserError(
                f"{root} has no folder with a usable {CAMERAS}: check data.root, or the root of "
                "this source"
            )
        self.lengths = np.array([len(sequence.images) for sequence in self._sequences])

    def load(self, sequence: int, position: int) -> PosedFrame:
        """Read one image, its depth map and its camera."""
        scene = self._sequences[sequence]
        with Image.open(scene.folder / scene.images[position]) as picture:
            image = np.asarray(picture.convert("RGB"))
        depth = _read_depth(scene.folder / scene.depths[position])
        return PosedFrame(
            image,
            (depth * scene.depth_scale).astype(np.float32),
            scene.intrinsics[position],
            scene.w2c[position],
            position,
        )


def _read_cameras(file: Path) -> _Sequence:
    cameras: dict[str, Any] = json.loads(file.read_text("utf-8"))
    frames = cameras["frames"]
    if not frames:
        raise ValueError("it lists no frames")
    return _Sequence(
        file.parent,
        tuple(str(frame["image"]) for frame in frames),
        tuple(str(frame["depth"]) for frame in frames),
        homogeneous(np.array([frame["w2c"] for frame in frames], np.float64)),
        np.array([frame["intrinsics"] for frame in frames], np.float64).reshape(-1, 3, 3),
        float(cameras.get("depth_scale", 1.0)),
    )


def _read_depth(file: Path) -> np.ndarray:
    if file.suffix == ".npy":
        return np.load(file)
    with Image.open(file) as picture:
        return np.asarray(picture, np.float64)
