"""Batches of recorded data: read by the loader on every host, finished on the devices."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from zipmap_jax.data.datasets.table import DATA_SETS
from zipmap_jax.data.open import open_loader, used_sources
from zipmap_jax.data.schedule import bucket_of
from zipmap_jax.errors import UserError
from zipmap_jax.train.batches.procedural import finished, microbatch_key, require_even
from zipmap_jax.train.sharding import SLOTS, VIEWS, batch_shardings, batch_spec, laid_out

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from zipmap_jax.data.config import BatchShape, DataConfig
    from zipmap_jax.data.loader import Loader
    from zipmap_jax.train.step import Batch

LEAST_DEPTH = 1e-8
"""Depths up to this are not valid."""


class LoadedSource:
    """`source(step)` is the batch of that step, the same on any mesh and after a resume.

    Every process reads its own microbatches; close it, or use it in a `with` block.

    Args:
      config: mixture, buckets, microbatches and augmentation.
      steps: length of the run.
      seed: of everything random.
      mesh: the devices.

    Raises:
      UserError: the microbatches or views do not divide evenly over the mesh, or the views of a
        scene would lie with several processes.
    """

    def __init__(self, config: DataConfig, steps: int, seed: int, mesh: Mesh) -> None:
        self._config, self._steps, self._seed, self._mesh = config, steps, seed, mesh
        self._loader: Loader | None = None
        self._finish = jax.jit(self._finished, static_argnames="bucket")
        for bucket in config.buckets:
            require_even(bucket, config.microbatches, mesh)
        local = len(mesh.local_devices)
        if local % mesh.shape[VIEWS]:
            raise UserError(
                f"mesh.views={mesh.shape[VIEWS]} does not divide the {local} devices of a process: "
                "the views of a scene must lie with one process"
            )
        self._detailed = np.array(
            [n.name not in DATA_SETS or DATA_SETS[n.name].detailed for n in used_sources(config)]
        )

    def __enter__(self) -> LoadedSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading."""
        if self._loader is not None:
            self._loader.close()
            self._loader = None

    @property
    def failures(self) -> dict[str, int]:
        """By data set, scenes drawn anew because a frame could not be used."""
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
        return self._finish(np.uint32(step), self._spread(next(self._loader)), bucket=bucket)

    def shapes(self, bucket: BatchShape) -> Batch:
        """Shapes and layout of a batch of that bucket."""
        lead = (self._config.microbatches, bucket.batch)
        views = bucket.views_to_draw()
        raw = {
            "images": ((*lead, views, bucket.height, bucket.width, 3), jnp.uint8),
            "depth": ((*lead, views, bucket.height, bucket.width), jnp.float32),
            "intrinsics": ((*lead, views, 3, 3), jnp.float32),
            "w2c": ((*lead, views, 4, 4), jnp.float32),
            "detailed": (lead, jnp.bool_),
        }
        arrays = {name: jax.ShapeDtypeStruct(*item) for name, item in raw.items()}
        number = jax.ShapeDtypeStruct((), jnp.uint32)
        shapes = jax.eval_shape(functools.partial(self._finished, bucket=bucket), number, arrays)
        return laid_out(shapes, batch_shardings(shapes, self._mesh))

    def _spread(self, batch: dict[str, np.ndarray]) -> Batch:
        """This process's microbatches as its part of the arrays of all."""
        local = self._config.microbatches // jax.process_count()
        batch["detailed"] = self._detailed[batch["source"]]
        out: dict[str, Any] = {}
        for name in ("images", "depth", "intrinsics", "w2c", "detailed"):
            array = batch[name].reshape(local, -1, *batch[name].shape[1:])
            # Drawn views may not divide over the devices before they are split into two kinds.
            spec = batch_spec(array) if self._divides(array) else PartitionSpec(SLOTS)
            where = NamedSharding(self._mesh, spec)
            out[name] = jax.make_array_from_process_local_data(where, array)
        return out

    def _divides(self, array: np.ndarray) -> bool:
        return array.ndim < 3 or array.shape[2] % self._mesh.shape[VIEWS] == 0

    def _finished(self, step: jax.Array, batch: Batch, bucket: BatchShape) -> Batch:
        """Colours as floats, depth mask, augmentation and split, for each microbatch."""

        def one_microbatch(microbatch: jax.Array, batch: Batch) -> Batch:
            batch = batch | {
                "images": batch["images"].astype(jnp.float32) / 255,
                "valid": batch["depth"] > LEAST_DEPTH,
            }
            key = microbatch_key(self._seed, step, microbatch)
            return finished(key, batch, bucket, self._config)

        out = jax.vmap(one_microbatch)(
            jnp.arange(self._config.microbatches, dtype=jnp.uint32), batch
        )
        return jax.lax.with_sharding_constraint(out, batch_shardings(out, self._mesh))
