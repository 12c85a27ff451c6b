"""Training losses: pure functions of a prediction and its target with fixed shapes.

`total_loss` returns the objective and its parts by name; `LossConfig` holds the weights. The names
below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.losses.config import LossConfig
    from zipmap_jax.losses.perceptual import colour_note, perceptual_loss
    from zipmap_jax.losses.target import (
        QueryTarget,
        Target,
        normalise_target,
        query_targets_from_batch,
        target_from_batch,
        valid_samples,
    )
    from zipmap_jax.losses.total import PatchPredictions, total_loss

__all__ = [
    "LossConfig",
    "PatchPredictions",
    "QueryTarget",
    "Target",
    "colour_note",
    "normalise_target",
    "perceptual_loss",
    "query_targets_from_batch",
    "target_from_batch",
    "total_loss",
    "valid_samples",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
