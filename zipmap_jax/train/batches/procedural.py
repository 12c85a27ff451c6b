"""Batches of procedural scenes, drawn on the devices from the number of the step alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from zipmap_jax.data.batch_arrays import view_axis
from zipmap_jax.data.schedule import bucket_of
from zipmap_jax.errors import UserError
from zipmap_jax.procedural import ProceduralConfig, scene_batch
from zipmap_jax.train.batches.augment import add_borders, jitter_colours, shuffle_views
from zipmap_jax.train.batches.query_split import split_batch
from zipmap_jax.train.sharding import (
    MICROBATCH_AXES,
    VIEWS,
    batch_shardings,
    batch_specs,
    laid_out,
    microbatch_devices,
)

if TYPE_CHECKING:
    from jax import Array
    from jax.sharding import Mesh
    from jaxtyping import Key

    from zipmap_jax.data.config import BatchShape, DataConfig
    from zipmap_jax.train.step import Batch


def microbatch_key(seed: int, step: Any, microbatch: Any) -> Key[Array, ""]:
    """Return the random key of the augmentation of a microbatch."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), microbatch)


def finish(key: Key[Array, ""], batch: Batch, bucket: BatchShape, config: DataConfig) -> Batch:
    """Jitter the colours of a microbatch, add borders, and split off its target views."""
    colour, split = jax.random.split(jax.random.fold_in(key, 2))
    if config.jitter is not None:
        batch = batch | {"images": jitter_colours(colour, batch["images"], config.jitter)}
    if config.borders:
        batch = add_borders(jax.random.fold_in(key, 3), batch, config.borders)
    return split_batch(split, batch, bucket.views, bucket.targets)


def require_even(bucket: BatchShape, microbatches: int, mesh: Mesh) -> None:
    """Check that the mesh can hold a batch in equal parts.

    Raises:
      UserError: microbatches, views or targets do not divide evenly.
    """
    uneven = [n for n in (bucket.views, bucket.targets) if n % mesh.shape[VIEWS]]
    if microbatches % microbatch_devices(mesh) or uneven:
        views = f"{bucket.views} views" + (f" and {bucket.targets} targets" * bool(bucket.targets))
        raise UserError(
            f"{microbatches} microbatches of {views} do not divide evenly over the mesh "
            f"{dict(mesh.shape)}: change data.microbatches, the bucket or mesh"
        )


class ProceduralSource:
    """`source(step)` returns the batch of a step, the same on any mesh and after a resume.

    Arrays have leading axes [microbatches, scenes, views]. Every device draws its own microbatches.

    Args:
      config: buckets, microbatches and augmentation.
      steps: length of the run; the opening times of the buckets are shares of it.
      seed: seed of shapes, scenes and augmentation.
      mesh: the devices.

    Raises:
      UserError: a bucket does not divide evenly over the mesh.
    """

    def __init__(self, config: DataConfig, steps: int, seed: int, mesh: Mesh) -> None:
        self._config, self._steps, self._seed, self._mesh = config, steps, seed, mesh
        self._programs = {bucket: self._program(bucket) for bucket in config.buckets}

    def __call__(self, step: int) -> Batch:
        bucket = bucket_of(step, self._steps, self._seed, self._config)
        return self._programs[bucket](np.uint32(step))

    def microbatch(self, bucket: BatchShape, step: Array, microbatch: Array) -> Batch:
        """Draw the scenes of one microbatch, a pure function of the numbers of step and microbatch.

        Scene i of microbatch s is scene number `(step * microbatches + s) * batch + i` of the
        bucket's stream.
        """
        scenes = ProceduralConfig(bucket.views_to_draw(), bucket.height, bucket.width)
        # A stream numbers its scenes by batch size, so every bucket has its own stream.
        stream = self._seed * len(self._config.buckets) + self._config.buckets.index(bucket)
        batch = scene_batch(
            scenes, stream, step * self._config.microbatches + microbatch, bucket.batch
        )
        key = microbatch_key(self._seed, step, microbatch)
        if self._config.shuffle_views:
            batch = shuffle_views(jax.random.fold_in(key, 1), batch)
        return finish(key, batch, bucket, self._config)

    def close(self) -> None:
        """Do nothing: the source holds no files or processes."""

    def shapes(self, bucket: BatchShape) -> Batch:
        """Return the shapes and shardings of a batch of a bucket."""
        shapes = jax.eval_shape(self._programs[bucket], jax.ShapeDtypeStruct((), jnp.uint32))
        return laid_out(shapes, batch_shardings(shapes, self._mesh))

    def _program(self, bucket: BatchShape) -> Callable[[np.uint32], Batch]:
        require_even(bucket, self._config.microbatches, self._mesh)
        per_device = self._config.microbatches // microbatch_devices(self._mesh)

        def on_device(step: Array) -> Batch:
            first = lax.axis_index(MICROBATCH_AXES) * per_device
            microbatches = (first + jnp.arange(per_device)).astype(jnp.uint32)
            batch = lax.map(
                lambda microbatch: self.microbatch(bucket, step, microbatch), microbatches
            )
            return {name: _own_views(x, view_axis(name)) for name, x in batch.items()}

        number = jax.ShapeDtypeStruct((), jnp.uint32)
        shapes = jax.eval_shape(functools.partial(self.microbatch, bucket), number, number)
        return jax.jit(
            jax.shard_map(
                on_device,
                mesh=self._mesh,
                in_specs=PartitionSpec(),
                out_specs=batch_specs(shapes),
                check_vma=False,
            )
        )


def _own_views(x: Array, axis: int | None) -> Array:
    """Slice this device's part of the views from microbatches, whose scenes have them on `axis`."""
    if axis is None:
        return x
    count = x.shape[axis + 1] // lax.axis_size(VIEWS)
    return lax.dynamic_slice_in_dim(x, lax.axis_index(VIEWS) * count, count, axis=axis + 1)
