"""Shapes of batches, their shares of the steps, and the arrays of a batch."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import jax

from zipmap_jax.data.batch_arrays import POSED_VIEWS, SCENES

if TYPE_CHECKING:
    from zipmap_jax.data.config import BatchShape
    from zipmap_jax.train.config.schema import TrainConfig

Shape = tuple[int, int, int, int, int]
"""Views, height, width, scenes per microbatch and targets, which determine a compiled program."""


def batch_shapes(bucket: BatchShape, scenes: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes of the arrays of a batch of scenes; of a state query, its input views."""
    sizes = dict(b=scenes, v=bucket.views, h=bucket.height, w=bucket.width)
    return {
        name: jax.ShapeDtypeStruct(array.shape(**sizes), array.dtype)
        for name, array in {**POSED_VIEWS, **SCENES}.items()
    }


def shape_shares(config: TrainConfig) -> dict[Shape, float]:
    """Return the share of the run's steps that have each batch shape."""
    buckets = config.data.buckets
    times = sorted({0.0, 1.0, *(t for b in buckets for t in (b.start, b.end) if 0 < t < 1)})
    shares = {shape_of(bucket): 0.0 for bucket in buckets if bucket.weight > 0}
    for begin, end in itertools.pairwise(times):
        open_buckets = [b for b in buckets if b.start <= begin and b.end >= end and b.weight > 0]
        total = sum(bucket.weight for bucket in open_buckets)
        for bucket in open_buckets:
            shares[shape_of(bucket)] += (end - begin) * bucket.weight / total
    return shares


def largest(config: TrainConfig) -> tuple[BatchShape, ...]:
    """Return the buckets that may need the most memory: the most pixels, views or scenes.

    Every scene needs memory for the fast weights of every layer, and every chunk of views for its
    activations.
    """

    def pixels(bucket: BatchShape) -> int:
        return images_of(shape_of(bucket)) * bucket.height * bucket.width

    candidates = (
        max(config.data.buckets, key=lambda b: (pixels(b), b.batch)),
        max(config.data.buckets, key=lambda b: (pixels(b), b.views)),
        max(config.data.buckets, key=lambda b: (b.batch, pixels(b))),
    )
    return tuple(dict.fromkeys(candidates))


def shape_of(bucket: BatchShape) -> Shape:
    """Return the part of a bucket that determines its program."""
    return bucket.views, bucket.height, bucket.width, bucket.batch, bucket.targets


def images_of(shape: Shape) -> int:
    """Return the number of images of a microbatch, targets included."""
    views, _, _, batch, targets = shape
    return batch * (views + targets)
