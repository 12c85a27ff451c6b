"""A preset small enough to compile in seconds."""

from __future__ import annotations

import pytest

from zipmap_jax.models.config import (
    CameraHeadConfig,
    DenseHeadConfig,
    EmbedderConfig,
    ZipMapConfig,
)
from zipmap_jax.models.presets import SIZES

MICRO = ZipMapConfig(
    preset="micro",
    embedder=EmbedderConfig(width=16, depth=0, heads=2, image_size=56),
    depth=4,
    heads=2,
    taps=(0, 1, 2, 3),
    camera=CameraHeadConfig(depth=1, heads=2, iterations=1),
    dense=DenseHeadConfig(features=8, out_channels=(4, 4, 4, 4), hidden=4),
)


@pytest.fixture
def micro(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name under which the preset can be had."""
    monkeypatch.setitem(SIZES, "micro", MICRO)
    return "micro"
