from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from zipmap_jax.convert.identify import expected_shapes, from_torch
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.nn.config import EmbedderConfig


@pytest.fixture(scope="session")
def config() -> ZipMapConfig:
    """A model of 0.3 million parameters, whose tensors determine its variant."""
    base = preset("tiny", "streaming")
    return dataclasses.replace(
        base,
        preset="custom",
        embedder=EmbedderConfig(width=32, depth=1, heads=1, image_size=28),
        heads=2,
        depth=4,
        mlp_ratio=2,
        taps=(0, 1, 2, 3),
        camera=dataclasses.replace(base.camera, depth=4, heads=16),
        dense=dataclasses.replace(base.dense, features=8, out_channels=(8, 8, 16, 16), hidden=4),
        layer_scale_init=0.01,
    )


@pytest.fixture(scope="session")
def state(config: ZipMapConfig) -> dict[str, np.ndarray]:
    """Its state dict, with the reference's names."""
    rng = np.random.default_rng(0)
    shapes = expected_shapes(config)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="session")
def params(config: ZipMapConfig, state: dict[str, np.ndarray]) -> dict[str, Any]:
    """Its parameter tree."""
    return from_torch(state, config)
