"""A reconstruction by a model that takes views in one after the other: one program, many calls.

A call takes a chunk of images and the state, and gives the state and the predictions of the chunk,
which go to the host while the next call computes. The device holds weights, state and what two
chunks need, however long the stream is, and every length above a chunk takes the same program.

The result is that of one `update` over all views. Models that neither stream nor come in phases
make a single call with all views.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from zipmap_jax.inference.offline_program import CompiledPhase, Phase, Step
from zipmap_jax.structs import Prediction, Views

if TYPE_CHECKING:
    from jaxtyping import Array, Shaped

    from zipmap_jax.inference.buckets import Bucket
    from zipmap_jax.models.api import Model


def one_call(model: Model, bucket: Bucket) -> Bucket:
    """The part of a bucket that its program takes at a time: all, unless the model streams."""
    if not model.streams or bucket.chunk is None:
        return bucket
    views = min(model.views_per_call(bucket.chunk), bucket.views)
    chunk = bucket.chunk if bucket.chunk < views else None
    return dataclasses.replace(bucket, views=views, chunk=chunk)


def stream_phase(model: Any, params: Any, bucket: Bucket, *, points: bool = False) -> Phase:
    """The program of a call: state, images and which of them are real, to state and predictions.

    Args:
      model: any model.
      params: its parameters, or their shapes.
      bucket: shape of the views of a call, see `one_call`.
      points: whether it gives local points as well.
    """

    def take(params: Any, state: Any, images: Array, valid: Array) -> tuple[Any, ...]:
        views = Views(model.preparation.normalise(images), valid)
        start = model.init_state(params)
        state, prediction = model.update(params, state, views, chunk=bucket.chunk, start=start)
        p = prediction
        kept = (p.depth, p.depth_conf, p.w2c, p.intrinsics)
        kept += (p.local_points,) if points else ()
        return state, *(x.astype(jnp.float32) for x in kept)

    shape = (bucket.scenes, bucket.views)
    state = jax.eval_shape(lambda p: model.init_state(p, bucket.scenes), params)
    images = jax.ShapeDtypeStruct((*shape, bucket.height, bucket.width, 3), jnp.uint8)
    valid = jax.ShapeDtypeStruct(shape, jnp.bool_)
    jitted = jax.jit(take, donate_argnums=1)
    return Phase(jitted, (state, images, valid), (PartitionSpec(),) * 4, 1)


@dataclasses.dataclass(frozen=True)
class StreamProgram:
    """The program of a call, ready to run.

    Attributes:
      start: a function, of parameters to the initial state.
      take: see `stream_phase`.
      bucket: shape of the views of a call.
    """

    start: Any
    take: CompiledPhase
    bucket: Bucket

    def __call__(self, params: Any, views: Views, step: Step) -> Prediction:
        """Reconstruct views that lie on the host.

        Args:
          params: the parameters; they stay where they are if that is on the device.
          views: host arrays of the bucket's scenes, any number of views.
          step: called after each call.

        Returns:
          Host arrays: cameras, depth and confidence.
        """
        params = jax.device_put(params, self.take.places[0])
        state = self.start(params)
        images, valid = np.asarray(views.images), np.asarray(views.mask)
        scenes, count, size = *valid.shape, self.bucket.views
        calls = -(-max(1, int(valid.any(0).sum())) // size)  # views that fill up come last
        results = [np.zeros((scenes, count, *shape), np.float32) for shape in self._shapes]

        def keep(i: int, pending: list[Array]) -> None:
            for result, x in zip(results, pending, strict=True):
                part = result[:, i * size : (i + 1) * size]
                part[...] = np.asarray(x)[:, : part.shape[1]]
            step(i + 1, calls)

        step(0, calls)
        pending: list[Array] = []
        for i in range(calls):
            part = (_part(x, i, size) for x in (images, valid))
            before = pending
            state, *pending = self.take.run(params, state, *jax.device_put((*part,), self._places))
            for x in pending:
                x.copy_to_host_async()
            if before:
                keep(i - 1, before)
        keep(calls - 1, pending)
        return Prediction(*results)  # type: ignore[arg-type]

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of depth, its confidence, w2c and intrinsics of a view."""
        image = (self.bucket.height, self.bucket.width)
        return image, image, (4, 4), (3, 3)

    @property
    def _places(self) -> tuple[Any, ...]:
        return self.take.places[2:]


def compile_stream(model: Any, params: Any, bucket: Bucket) -> StreamProgram:
    """Compile a call; see `stream_phase`."""
    # Too small a program to be worth a place on disk.
    start = jax.jit(lambda p: model.init_state(p, bucket.scenes))
    return StreamProgram(start, stream_phase(model, params, bucket).compile(params), bucket)


def _part(x: Shaped[np.ndarray, "b v ..."], i: int, size: int) -> Shaped[np.ndarray, "b c ..."]:
    """Views of one call, filled up with zeros if it is the last."""
    part = x[:, i * size : (i + 1) * size]
    if part.shape[1] == size:
        return part
    missing = [(0, 0)] * x.ndim
    missing[1] = (0, size - part.shape[1])
    return np.pad(part, missing)
