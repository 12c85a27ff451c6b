"""Recorded batches of the reference; `tests/parity` compares every number of them."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent.parent / "golden"


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)
