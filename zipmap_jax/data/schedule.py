"""The batch shape of a training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.data.config import BatchShape, DataConfig


def bucket_of(step: int, steps: int, seed: int, config: DataConfig) -> BatchShape:
    """Draw the batch shape of a step by weight among the buckets open at that point of the run.

    Args:
      step: number of the step.
      steps: length of the run.
      seed: seed of the draw, which depends on (seed, step) alone.
      config: the buckets.

    Raises:
      UserError: no bucket is open.
    """
    progress = step / steps
    open_buckets = [b for b in config.buckets if b.start <= progress <= b.end and b.weight > 0]
    if not open_buckets:
        raise UserError(
            f"no bucket is open at {progress:.0%} of the run: "
            "let the start and end of data.buckets cover 0 to 1"
        )
    weights = np.array([bucket.weight for bucket in open_buckets])
    draw = np.random.default_rng((seed, step)).choice(len(open_buckets), p=weights / weights.sum())
    return open_buckets[draw]
