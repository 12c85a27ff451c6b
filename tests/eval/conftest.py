"""Recorded held-out scenes, which take ten seconds to render."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zipmap_jax.eval.benchmarks.procedural import Batch

SCENES = Path(__file__).parent / "recorded" / "held_out.npz"


@pytest.fixture(scope="session")
def held_out() -> Batch:
    """`next(held_out_scenes(4, 8, 56, 56))`, colours rounded to bytes."""
    with np.load(SCENES) as arrays:
        scenes = dict(arrays)
    images, depth = scenes["images"].astype(np.float32) / 255, scenes["depth"].astype(np.float32)
    return scenes | {"images": images, "depth": depth}
