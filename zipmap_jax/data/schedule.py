"""Which batch shape a training step has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.data.config import BatchShape, DataConfig


def bucket_of(step: int, steps: int, seed: int, config: DataConfig) -> BatchShape:
    """The batch shape of a step: drawn by weight among the buckets open at that point of the run.

    Raises:
      UserError: if no bucket is open.
    """
    progress = step / steps
    open_now = [b for b in config.buckets if b.start <= progress <= b.end and b.weight > 0]
    if not open_now:
        raise UserError(
            f"no bucket is open at {progress:.0%} of the run: "
            "let the start and end of data.buckets cover 0 to 1"
        )
    weights = np.array([bucket.weight for bucket in open_now])
    draw = np.random.default_rng((seed, step)).choice(len(open_now), p=weights / weights.sum())
    return open_now[draw]
