"""Batches of recorded data: read by the loader on every host, augmented on the devices."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from zipmap_jax.data.batch_arrays import LOADED, POSED_VIEWS, SCENES, view_axis
from zipmap_jax.data.datasets.table import DATA_SETS
from zipmap_jax.data.open import open_loader, used_sources
from zipmap_jax.data.schedule import bucket_of
from zipmap_jax.errors import UserError
from zipmap_jax.train.batches.procedural import finish, microbatch_key, require_even
from zipmap_jax.train.sharding import (
    MICROBATCH_AXES,
    VIEWS,
    batch_shardings,
    batch_spec,
    laid_out,
)

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from zipmap_jax.data.config import BatchShape, DataConfig
    from zipmap_jax.data.loader import Loader
    from zipmap_jax.train.step import Batch

MIN_DEPTH = 1e-8
"""Depth must exceed this to be valid."""
READ = {name: LOADED[name] for name in POSED_VIEWS if name in LOADED} | {**SCENES}
"""Arrays that go from the host to the devices."""


class LoadedSource:
    """`source(step)` returns the batch of a step, the same on any mesh and after a resume.

    Every process reads its own microbatches. Close the source, or use it in a `with` block.

    Args:
      config: mixture, buckets, microbatches and augmentation.
      steps: length of the run.
      seed: seed of everything random.
      mesh: the devices.

    Raises:
      UserError: the microbatches or views do not divide evenly over the mesh, or several processes
        would hold views of the same scene.
    """

    def __init__(self, config: DataConfig, steps: int, seed: int, mesh: Mesh) -> None:
        self._config, self._steps, self._seed, self._mesh = config, steps, seed, mesh
        self._loader: Loader | None = None
        self._program = jax.jit(self._finish_batch, static_argnames="bucket")
        for bucket in config.buckets:
            require_even(bucket, config.microbatches, mesh)
        local = len(mesh.local_devices)
        if local % mesh.shape[VIEWS]:
            raise UserError(
                f"mesh.views={mesh.shape[VIEWS]} does not divide the {local} devices of a process, "
                "which must hold all views of a scene: set mesh.views to a divisor"
            )
        self._detailed = np.array(
            [s.name not in DATA_SETS or DATA_SETS[s.name].detailed for s in used_sources(config)]
        )

    def __enter__(self) -> LoadedSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and release the loader's threads and processes."""
        if self._loader is not None:
            self._loader.close()
            self._loader = None

    @property
    def failures(self) -> dict[str, int]:
        """Number of draws that failed at an unusable frame, by data set."""
        return dict(self._loader.failures) if self._loader else {}

    def __call__(self, step: int) -> Batch:
        if self._loader is None or self._loader.step != step:
            self.close()
            self._loader = open_loader(
                self._config,
                self._steps,
                self._seed,
                start=step,
                host=jax.process_index(),
                hosts=jax.process_count(),
            )
        bucket = bucket_of(step, self._steps, self._seed, self._config)
        return self._program(np.uint32(step), self._spread(next(self._loader)), bucket=bucket)

    def shapes(self, bucket: BatchShape) -> Batch:
        """Return the shapes and shardings of a batch of a bucket."""
        views = bucket.views_to_draw()
        sizes = dict(b=bucket.batch, v=views, h=bucket.height, w=bucket.width)
        lead = (self._config.microbatches,)
        arrays = {
            name: jax.ShapeDtypeStruct((*lead, *array.shape(**sizes)), array.dtype)
            for name, array in READ.items()
        }
        number = jax.ShapeDtypeStruct((), jnp.uint32)
        program = functools.partial(self._finish_batch, bucket=bucket)
        shapes = jax.eval_shape(program, number, arrays)
        return laid_out(shapes, batch_shardings(shapes, self._mesh))

    def _spread(self, batch: dict[str, np.ndarray]) -> Batch:
        """Make global arrays, of which this process holds its own microbatches."""
        local = self._config.microbatches // jax.process_count()
        batch["detailed"] = self._detailed[batch["source"]]
        out: dict[str, Any] = {}
        for name in READ:
            array = batch[name].reshape(local, -1, *batch[name].shape[1:])
            sharding = NamedSharding(self._mesh, self._spec(name, array))
            out[name] = jax.make_array_from_process_local_data(sharding, array)
        return out

    def _spec(self, name: str, array: np.ndarray) -> PartitionSpec:
        """Partition of an array as read, whose views need not divide over the devices."""
        axis = view_axis(name)
        if axis is None or array.shape[axis + 1] % self._mesh.shape[VIEWS] == 0:
            return batch_spec(name)
        return PartitionSpec(MICROBATCH_AXES)

    def _finish_batch(self, step: jax.Array, batch: Batch, bucket: BatchShape) -> Batch:
        """Convert colours, mask depth, augment and split every microbatch."""

        def one_microbatch(microbatch: jax.Array, batch: Batch) -> Batch:
            batch = batch | {
                "images": batch["images"].astype(jnp.float32) / 255,
                "valid": batch["depth"] > MIN_DEPTH,
            }
            key = microbatch_key(self._seed, step, microbatch)
            return finish(key, batch, bucket, self._config)

        out = jax.vmap(one_microbatch)(
            jnp.arange(self._config.microbatches, dtype=jnp.uint32), batch
        )
        return jax.lax.with_sharding_constraint(out, batch_shardings(out, self._mesh))
