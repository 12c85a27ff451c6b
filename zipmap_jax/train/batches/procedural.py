"""Batches of procedural scenes, drawn on the device from the number of the step alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from zipmap_jax.data.schedule import bucket_of
from zipmap_jax.errors import UserError
from zipmap_jax.procedural import ProceduralConfig, scene_batch
from zipmap_jax.train.batches.augment import jitter_colours, shuffle_views
from zipmap_jax.train.batches.query_split import split_batch
from zipmap_jax.train.sharding import (
    SLOTS,
    VIEWS,
    batch_shardings,
    batch_spec,
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
    """Key of the augmentation of a microbatch."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), microbatch)


def finished(key: Key[Array, ""], batch: Batch, bucket: BatchShape, config: DataConfig) -> Batch:
    """The scenes of a microbatch after colour augmentation, cut into views to zip and to render."""
    colour, split = jax.random.split(jax.random.fold_in(key, 2))
    if config.jitter is not None:
        batch = batch | {"images": jitter_colours(colour, batch["images"], config.jitter)}
    return split_batch(split, batch, bucket.views, bucket.targets)


def require_even(bucket: BatchShape, microbatches: int, mesh: Mesh) -> None:
    """Refuse a batch that the mesh cannot hold in equal parts."""
    uneven = [n for n in (bucket.views, bucket.targets) if n % mesh.shape[VIEWS]]
    if microbatches % microbatch_devices(mesh) or uneven:
        what = f"{bucket.views} views" + (f" and {bucket.targets} targets" * bool(bucket.targets))
        raise UserError(
            f"{microbatches} microbatches of {what} do not divide evenly over the mesh "
            f"{dict(mesh.shape)}: change data.microbatches, the bucket or mesh"
        )


class ProceduralSource:
    """`source(step)` is the batch of that step, the same on any mesh and after a resume.

    Arrays have leading axes [microbatches, scenes, views]. Every device draws its own microbatches.

    Args:
      config: buckets, microbatches and augmentation.
      steps: length of the run, to which the opening times of the buckets refer.
      seed: of shapes, scenes and augmentation.
      mesh: the devices.
    """

    def __init__(self, config: DataConfig, steps: int, seed: int, mesh: Mesh) -> None:
        self._config, self._steps, self._seed, self._mesh = config, steps, seed, mesh
        self._programs = {bucket: self._program(bucket) for bucket in config.buckets}

    def __call__(self, step: int) -> Batch:
        bucket = bucket_of(step, self._steps, self._seed, self._config)
        return self._programs[bucket](np.uint32(step))

    def microbatch(self, bucket: BatchShape, step: Array, microbatch: Array) -> Batch:
        """The scenes of one microbatch, a pure function of the numbers of step and microbatch.

        Scene i of microbatch s is scene number `(step * microbatches + s) * batch + i` of the
        bucket's stream.
        """
        scenes = ProceduralConfig(bucket.views_to_draw(), bucket.height, bucket.width)
        # A stream numbers its scenes by the batch, so buckets of other batches need their own.
        stream = self._seed * len(self._config.buckets) + self._config.buckets.index(bucket)
        batch = scene_batch(
            scenes, stream, step * self._config.microbatches + microbatch, bucket.batch
        )
        key = microbatch_key(self._seed, step, microbatch)
        if self._config.shuffle_views:
            batch = shuffle_views(jax.random.fold_in(key, 1), batch)
        return finished(key, batch, bucket, self._config)

    def close(self) -> None:
        """Nothing needs to be given back."""

    def shapes(self, bucket: BatchShape) -> Batch:
        """Shapes and layout of a batch of that bucket."""
        shapes = jax.eval_shape(self._programs[bucket], jax.ShapeDtypeStruct((), jnp.uint32))
        return laid_out(shapes, batch_shardings(shapes, self._mesh))

    def _program(self, bucket: BatchShape) -> Callable[[np.uint32], Batch]:
        require_even(bucket, self._config.microbatches, self._mesh)
        per_device = self._config.microbatches // microbatch_devices(self._mesh)

        def on_device(step: Array) -> Batch:
            first = lax.axis_index(SLOTS) * per_device
            microbatches = (first + jnp.arange(per_device)).astype(jnp.uint32)
            batch = lax.map(
                lambda microbatch: self.microbatch(bucket, step, microbatch), microbatches
            )
            return {name: _own_views(x) for name, x in batch.items()}

        number = jax.ShapeDtypeStruct((), jnp.uint32)
        shapes = jax.eval_shape(functools.partial(self.microbatch, bucket), number, number)
        layout = {name: batch_spec(np.empty((1, *x.shape[:2]))) for name, x in shapes.items()}
        return jax.jit(
            jax.shard_map(
                on_device,
                mesh=self._mesh,
                in_specs=PartitionSpec(),
                out_specs=layout,
                check_vma=False,
            )
        )


def _own_views(x: Array) -> Array:
    """This device's share of the views, the third axis."""
    count = x.shape[2] // lax.axis_size(VIEWS)
    return lax.dynamic_slice_in_dim(x, lax.axis_index(VIEWS) * count, count, axis=2)
