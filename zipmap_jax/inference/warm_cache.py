"""Ahead-of-time compilation of programs into the cache on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax

from zipmap_jax.convert.hub import find
from zipmap_jax.errors import UserError
from zipmap_jax.images.resize import Mode
from zipmap_jax.inference.buckets import Bucket, bucket_of
from zipmap_jax.inference.compile import compiled_update, forget_programs
from zipmap_jax.inference.memory import free_memory, workload_of
from zipmap_jax.inference.scene_plan import chunk_for
from zipmap_jax.inference.stream_program import bucket_of_call
from zipmap_jax.models.api import Model, in_stored_formats

if TYPE_CHECKING:
    from zipmap_jax.nn.config import Policy


@dataclasses.dataclass(frozen=True)
class WarmupResult:
    """The compilation of the programs of one bucket.

    Attributes:
      bucket: shape of the views.
      first, again: seconds of the first and the second compilation.
      known: whether all programs were in the cache before.
      kept: whether all programs are in the cache now; those that compile fast are not stored.
    """

    bucket: Bucket
    first: float
    again: float
    known: bool
    kept: bool


def shapes_of_model(name: str, policy: Policy) -> tuple[Model, Any, int]:
    """Returns a model, its parameter shapes and its image size, without reading parameters."""
    source = find(name)
    model = source.model(policy)
    size = int(source.card.get("size") or model.default_size)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return model, in_stored_formats(shapes, model), size


def buckets_for(
    model: Model,
    params: Any,
    views: Sequence[int],
    ratios: Sequence[tuple[int, int]],
    *,
    size: int,
    mode: Mode = "crop",
    chunk: int | None = None,
    scenes: int = 1,
) -> list[Bucket]:
    """Returns the buckets of `reconstruct` for these numbers of views and image shapes.

    Args:
      model: the model.
      params: its parameters, or their shapes.
      views: numbers of views.
      ratios: (width, height) of the images in any unit.
      size, mode, chunk: as in `reconstruct`.
      scenes: number of scenes per call.

    Raises:
      UserError: a number of views is below 1, or as `resized_shape`.
    """
    if min(views, default=0) < 1:
        raise UserError(f"views must be at least 1, got {list(views)}: try 8 16 32")
    buckets = []
    for width, height in ratios:
        original = (1000 * height, 1000 * width)
        shape = model.preparation.network_shape([original], size, mode)
        for count in views:
            work = workload_of(model, params, [shape] * count, shape, chunk)
            chosen = chunk or chunk_for(work, scenes, free_memory())
            streams = model.streams
            bucket = bucket_of(count, shape, chunk=chosen, scenes=scenes, streams=streams)
            buckets.append(bucket_of_call(model, bucket))
    return list(dict.fromkeys(buckets))


def warm(model: Model, params: Any, buckets: Sequence[Bucket]) -> Iterator[WarmupResult]:
    """Compiles programs into the cache on disk, and again from it, to measure the saving."""
    for bucket in buckets:
        forget_programs()
        first = compiled_update(model, params, bucket)
        forget_programs()
        again = compiled_update(model, params, bucket)
        yield WarmupResult(bucket, first.seconds, again.seconds, first.cached, again.cached)
