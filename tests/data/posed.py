"""Small recordings on disk, and a loader of them. Workers import it: nothing heavy in here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from zipmap_jax.data.config import BatchShape, CropConfig
from zipmap_jax.data.datasets.readers import open_source
from zipmap_jax.data.loader import Loader, loader
from zipmap_jax.data.mixture import Mixture

HEIGHT, WIDTH = 24, 36


def write_scene(folder: Path, number: int, frames: int, suffix: str = ".png") -> None:
    """Write a scene of flat frames: red is the scene, green the frame, depth 1 + frame / 4."""
    folder.mkdir(parents=True)
    entries = []
    for i in range(frames):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[:] = (40 * number, 5 * i, 0)
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
        depth = np.full((HEIGHT, WIDTH), 1 + i / 4)
        name = f"{i:03}_depth{suffix}"
        if suffix == ".npy":
            np.save(folder / name, 1000 * depth)
        else:
            Image.fromarray((1000 * depth).astype(np.uint16)).save(folder / name)
        w2c = np.eye(4)[:3]
        w2c[0, 3] = i
        k = [[30.0, 0, WIDTH / 2], [0, 30.0, HEIGHT / 2], [0, 0, 1]]
        entries.append(
            {"image": f"{i:03}.png", "depth": name, "w2c": w2c.tolist(), "intrinsics": k}
        )
    cameras = {"depth_scale": 0.001, "frames": entries}
    (folder / "cameras.json").write_text(json.dumps(cameras))


def break_frame(folder: Path, frame: int) -> None:
    """Cut an image file short."""
    file = folder / f"{frame:03}.png"
    file.write_bytes(file.read_bytes()[:40])


SHAPES = (
    BatchShape(views=3, height=14, width=28, batch=2, weight=0.5),
    BatchShape(views=2, height=28, width=28, batch=1, targets=2, weight=0.5),
)
STEPS = 6


def shape_of(step: int) -> BatchShape:
    return SHAPES[step % 2]


def open_recording(root: Path, **options: int) -> Loader:
    source = open_source("posed_folder", root, crop=CropConfig(scales=(0.8, 1.2), zoom=0.3))
    options = {"steps": STEPS, "microbatches": 4, **options}
    return loader(Mixture([source], [1.0], seed=5), shape_of, **options)  # type: ignore[arg-type]
