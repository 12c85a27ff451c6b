"""Training losses: `(prediction, target) -> scalar and named parts`, jit-able, of fixed shape."""

from zipmap_jax.losses.target import (
    QueryTarget,
    Target,
    normalise_target,
    target_from_batch,
    valid_samples,
)
from zipmap_jax.losses.total import LossConfig, total_loss

__all__ = [
    "LossConfig",
    "QueryTarget",
    "Target",
    "normalise_target",
    "target_from_batch",
    "total_loss",
    "valid_samples",
]
