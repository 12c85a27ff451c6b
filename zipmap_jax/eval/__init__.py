"""Accuracy of models: metrics, the trivial prediction as a baseline, benchmarks and tables.

`evaluate` compares a model with the truth of scenes such as `held_out_scenes`, and `table` prints
the result. The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.eval.benchmarks.procedural import evaluate, held_out_scenes
    from zipmap_jax.eval.comparison import Comparison
    from zipmap_jax.eval.rendered import RenderedComparison
    from zipmap_jax.eval.report import table

_HOMES = {
    "Comparison": "zipmap_jax.eval.comparison",
    "RenderedComparison": "zipmap_jax.eval.rendered",
    "evaluate": "zipmap_jax.eval.benchmarks.procedural",
    "held_out_scenes": "zipmap_jax.eval.benchmarks.procedural",
    "table": "zipmap_jax.eval.report",
}

__all__ = ["Comparison", "RenderedComparison", "evaluate", "held_out_scenes", "table"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.eval' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
