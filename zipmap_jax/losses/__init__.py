"""Training losses: `(prediction, target) -> scalar and named parts`, jit-able, of fixed shape."""

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
