from __future__ import annotations

import os

import jax
import numpy as np
import pytest

from zipmap_jax.xla_flags import FUSED_LIBRARY_CALLS, avoid_fused_reductions


def test_reductions_are_compiled_without_ynnpack() -> None:
    """Importing the package is enough, if JAX has not started."""
    reduced = jax.jit(lambda x, y: (x * y).sum((2, 4)))
    x = np.ones((4, 4, 8, 8, 3, 3, 3), np.float32)
    assert "__ynn_fusion" not in reduced.lower(x, x).compile().as_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{FUSED_LIBRARY_CALLS}=-reduce"),
        ("--a=1", f"--a=1 {FUSED_LIBRARY_CALLS}=-reduce"),
        (f"{FUSED_LIBRARY_CALLS}= --a=1", f"{FUSED_LIBRARY_CALLS}= --a=1"),
    ],
)
def test_other_flags_remain(before: str, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", before)
    for _ in range(2):
        avoid_fused_reductions()
        assert os.environ["XLA_FLAGS"] == after
