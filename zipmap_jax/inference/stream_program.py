"""A reconstruction by one program that is called for chunk after chunk of the views.

A call maps the state and a chunk of images to the new state and the predictions of the chunk, which
are copied to the host during the next call. The device holds the weights, the state and the arrays
of two chunks, for streams of any length. Results equal those of one `update` over all views. Models
that are neither streaming nor phased make a single call with all views.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
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


def bucket_of_call(model: Model, bucket: Bucket) -> Bucket:
    """Returns the views of a bucket in one call: all, unless the model streams."""
    if not model.streams or bucket.chunk is None:
        return bucket
    views = min(model.views_per_call(bucket.chunk), bucket.views)
    chunk = bucket.chunk if bucket.chunk < views else None
    return dataclasses.replace(bucket, views=views, chunk=chunk)


def stream_phase(model: Any, params: Any, bucket: Bucket, *, points: bool = False) -> Phase:
    """Returns the program of a call: state, images and mask to state and predictions.

    Args:
      model: any model.
      params: its parameters, or their shapes.
      bucket: shape of the views of a call, see `bucket_of_call`.
      points: whether the predictions include local points.
    """

    def take(params: Any, state: Any, images: Array, valid: Array) -> tuple[Any, ...]:
        views = Views(model.preparation.normalise(images), valid)
        start = model.init_state(params)
        state, prediction = model.update(params, state, views, chunk=bucket.chunk, start=start)
        p = prediction
        outputs = (p.depth, p.depth_conf, p.w2c, p.intrinsics)
        outputs += (p.local_points,) if points else ()
        return state, *(x.astype(jnp.float32) for x in outputs)

    shape = (bucket.scenes, bucket.views)
    state = jax.eval_shape(lambda p: model.init_state(p, bucket.scenes), params)
    images = jax.ShapeDtypeStruct((*shape, bucket.height, bucket.width, 3), jnp.uint8)
    valid = jax.ShapeDtypeStruct(shape, jnp.bool_)
    jitted = jax.jit(take, donate_argnums=1)
    return Phase(jitted, (state, images, valid), (PartitionSpec(),) * 4, 1)


@dataclasses.dataclass(frozen=True)
class StreamState:
    """A stream between two steps.

    Attributes:
      params: the parameters, on the device.
      scene: the model's state, which the next step donates.
    """

    params: Any
    scene: Any


@dataclasses.dataclass(frozen=True)
class StreamProgram:
    """The compiled program of a call.

        state = program.init(params)
        for frames in chunks:
            state, prediction = program.step(state, frames)

    Attributes:
      start: function of the parameters that returns the initial state.
      take: see `stream_phase`.
      bucket: shape of the views of a call.
    """

    start: Any
    take: CompiledPhase
    bucket: Bucket

    def init(self, params: Any) -> StreamState:
        """Returns the state of a stream without views.

        Args:
          params: the parameters, copied to the device unless they are there.
        """
        params = jax.device_put(params, self.take.shardings[0])
        return StreamState(params, self.start(params))

    def step(self, state: StreamState, frames: Views) -> tuple[StreamState, Prediction]:
        """Adds the next views to the state and predicts them, without waiting for the device.

        Args:
          state: from `init` or the previous step; it is donated and must not be used again.
          frames: uint8 network images of the bucket's scenes, on the host, with at most the
            bucket's views.

        Returns:
          The new state, and the prediction of the bucket's views on the device; views beyond
          `frames` are padding.
        """
        size = self.bucket.views
        host = _part(np.asarray(frames.images), 0, size), _part(np.asarray(frames.mask), 0, size)
        scene, *dense = self.take.run(
            state.params, state.scene, *jax.device_put(host, self.take.shardings[2:])
        )
        return StreamState(state.params, scene), Prediction(*dense)

    def predictions(self, params: Any, chunks: Iterable[Views]) -> Iterator[Prediction]:
        """Predicts a stream chunk by chunk; a chunk is copied to the host during the next step.

        Args:
          params: as in `init`.
          chunks: the `frames` of the steps.

        Yields:
          Host arrays of the views of each chunk.
        """
        state, pending = self.init(params), None
        for frames in chunks:
            state, prediction = self.step(state, frames)
            jax.tree.map(lambda x: x.copy_to_host_async(), prediction)
            if pending is not None:
                yield _on_host(*pending)
            pending = prediction, frames.images.shape[1]
        if pending is not None:
            yield _on_host(*pending)

    def __call__(self, params: Any, views: Views, step: Step) -> Prediction:
        """Reconstructs views on the host.

        Args:
          params: as in `init`.
          views: host arrays of the bucket's scenes, any number of views.
          step: called after each call.

        Returns:
          Host arrays: cameras, depth and confidence.
        """
        images, valid = np.asarray(views.images), np.asarray(views.mask)
        scenes, count, size = *valid.shape, self.bucket.views
        calls = -(-max(1, int(valid.any(0).sum())) // size)  # padding is last
        results = [np.zeros((scenes, count, *shape), np.float32) for shape in self._shapes]
        spans = [slice(i * size, (i + 1) * size) for i in range(calls)]
        chunks = (Views(images[:, span], valid[:, span]) for span in spans)  # type: ignore[arg-type]
        step(0, calls)
        for i, prediction in enumerate(self.predictions(params, chunks)):
            for result, x in zip(results, jax.tree.leaves(prediction), strict=True):
                result[:, spans[i]] = x
            step(i + 1, calls)
        return Prediction(*results)  # type: ignore[arg-type]

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of depth, confidence, w2c and intrinsics of a view."""
        image = (self.bucket.height, self.bucket.width)
        return image, image, (4, 4), (3, 3)


def compile_stream(model: Any, params: Any, bucket: Bucket) -> StreamProgram:
    """Compiles the program of a call; see `stream_phase`."""
    # Jitted only: too small for the cache on disk.
    start = jax.jit(lambda p: model.init_state(p, bucket.scenes))
    return StreamProgram(start, stream_phase(model, params, bucket).compile(params), bucket)


def _on_host(prediction: Prediction, views: int) -> Prediction:
    """The first views of a prediction, as host arrays."""
    return jax.tree.map(lambda x: np.asarray(x)[:, :views], prediction)


def _part(x: Shaped[np.ndarray, "b v ..."], i: int, size: int) -> Shaped[np.ndarray, "b c ..."]:
    """The views of call `i`, padded with zeros."""
    part = x[:, i * size : (i + 1) * size]
    if part.shape[1] == size:
        return part
    missing = [(0, 0)] * x.ndim
    missing[1] = (0, size - part.shape[1])
    return np.pad(part, missing)
