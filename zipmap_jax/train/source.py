"""Batches of procedural scenes, drawn on the device from the number of the step alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np

from zipmap_jax.data.datasets.procedural import ProceduralConfig, scene_batch
from zipmap_jax.train.augment import jitter_colours, shuffle_views

if TYPE_CHECKING:
    from zipmap_jax.train.config import Bucket, DataConfig
    from zipmap_jax.train.step import Batch


def bucket_of(step: int, steps: int, seed: int, config: DataConfig) -> Bucket:
    """The batch shape of a step: drawn by weight among the buckets open at that point of the run.

    Raises:
      ValueError: if no bucket is open.
    """
    progress = step / steps
    open_now = [b for b in config.buckets if b.start <= progress <= b.end and b.weight > 0]
    if not open_now:
        raise ValueError(
            f"no bucket is open at {progress:.0%} of the run: "
            "let the start and end of data.buckets cover 0 to 1"
        )
    weights = np.array([bucket.weight for bucket in open_now])
    draw = np.random.default_rng((seed, step)).choice(len(open_now), p=weights / weights.sum())
    return open_now[draw]


class ProceduralSource:
    """`source(step)` is the batch of that step, the same in every process and after a resume.

    Args:
      config: buckets and augmentation.
      steps: length of the run, to which the opening times of the buckets refer.
      seed: of shapes, scenes and augmentation.
    """

    def __init__(self, config: DataConfig, steps: int, seed: int) -> None:
        self._config, self._steps, self._seed = config, steps, seed
        self._augment = jax.jit(self._augmented)

    def __call__(self, step: int) -> Batch:
        bucket = bucket_of(step, self._steps, self._seed, self._config)
        scenes = ProceduralConfig(bucket.views, bucket.height, bucket.width)
        # A stream numbers its scenes by step * batch, so buckets of other batches need their own.
        stream = self._seed * len(self._config.buckets) + self._config.buckets.index(bucket)
        batch = scene_batch(scenes, stream, step, self._config.slots * bucket.batch)
        key = jax.random.fold_in(jax.random.key(self._seed), step)
        return self._augment(key, batch)

    def _augmented(self, key: jax.Array, batch: Batch) -> Batch:
        order, colour = jax.random.split(key)
        if self._config.shuffle_views:
            batch = shuffle_views(order, batch)
        if self._config.jitter is not None:
            batch = batch | {"images": jitter_colours(colour, batch["images"], self._config.jitter)}
        return batch
