"""A model that compiles in seconds, in place of the embedded one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from zipmap_jax.cli import demo, run
from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import CameraHeadConfig, DenseHeadConfig, EmbedderConfig

MICRO = ZipMapConfig(
    preset="micro",
    embedder=EmbedderConfig(width=16, depth=0, heads=2, image_size=56),
    depth=4,
    heads=2,
    taps=(0, 1, 2, 3),
    camera=CameraHeadConfig(depth=1, heads=2, iterations=1),
    dense=DenseHeadConfig(features=8, out_channels=(4, 4, 4, 4), hidden=4),
)


@pytest.fixture(autouse=True)
def no_compilation_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's cache unchanged."""
    monkeypatch.setenv("ZIPMAP_NO_CACHE", "1")


@pytest.fixture(scope="session")
def micro() -> LoadedModel:
    rng = np.random.default_rng(0)
    model = ZipMap(MICRO)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda s: rng.normal(0, 0.1, s.shape).astype(np.float32), shapes)
    # Valid fields of view and rotations for every view.
    params["camera_head"]["branch"]["fc2"]["bias"][6:] = 1.0
    return LoadedModel(model, params, {"name": "micro", "notes": []})


@pytest.fixture
def micro_model(micro: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    """Make the verbs load the micro model for every name."""
    for verb in (run, demo):
        monkeypatch.setattr(verb, "load_model", lambda name, precision: micro)
    return micro


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Creates a folder of noise pictures."""

    def make(count: int = 3, size: tuple[int, int] = (80, 60)) -> Path:
        folder = tmp_path / "photos"
        folder.mkdir()
        rng = np.random.default_rng(1)
        for i in range(count):
            pixels = rng.integers(0, 255, (size[1], size[0], 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
        return folder

    return make
