"""Training losses: pure functions of a prediction and its target with fixed shapes.

`total_loss` returns the objective and its parts by name; `LossConfig` holds the weights. The names
below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "LossConfig": "zipmap_jax.losses.config",
    "PatchPredictions": "zipmap_jax.losses.total",
    "QueryTarget": "zipmap_jax.losses.target",
    "Target": "zipmap_jax.losses.target",
    "colour_note": "zipmap_jax.losses.perceptual",
    "normalise_target": "zipmap_jax.losses.target",
    "perceptual_loss": "zipmap_jax.losses.perceptual",
    "query_targets_from_batch": "zipmap_jax.losses.target",
    "target_from_batch": "zipmap_jax.losses.target",
    "total_loss": "zipmap_jax.losses.total",
    "valid_samples": "zipmap_jax.losses.target",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.losses' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
