"""Six small scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZES = {"a": (3, 64, 48), "b": (4, 64, 48), "c": (2, 48, 64), "d": (3, 64, 48)}
SIZES |= {"e": (1, 64, 48), "f": (4, 64, 48)}
"""Number, width and height of the images of each scene."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, (count, width, height) in SIZES.items():
        (tmp_path / "scenes" / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 255, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "scenes" / name / f"{i}.png")
    return tmp_path / "scenes"
