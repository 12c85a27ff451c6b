"""Accuracy of models: metrics, the trivial prediction as a baseline, benchmarks and tables.

`evaluate` compares a model with the truth of scenes such as `held_out_scenes`, and `table` prints
the result. The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.eval.benchmarks.procedural import evaluate, held_out_scenes
    from zipmap_jax.eval.comparison import Comparison
    from zipmap_jax.eval.rendered import RenderedComparison
    from zipmap_jax.eval.report import table

__all__ = ["Comparison", "RenderedComparison", "evaluate", "held_out_scenes", "table"]

__getattr__, __dir__ = lazy_names(__name__, __file__)
