"""A reconstruction by a model that takes views in one after the other: one program, many calls.

A call takes a chunk of images and the state, and gives the state and the predictions of the chunk,
which go to the host while the next call computes. The device holds weights, state and what two
chunks need, however long the stream is, and every length above a chunk takes the same program.

The result is that of one `update` over all views. Models that neither stream nor come in phases
make a single call with all views.
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
class StreamState:
    """A stream between two steps.

    Attributes:
      params: the parameters, on the device.
      scene: the model's state, of which the next step takes the memory.
    """

    params: Any
    scene: Any


@dataclasses.dataclass(frozen=True)
class StreamProgram:
    """The program of a call, ready to run.

        state = program.init(params)
        for frames in chunks:
            state, prediction = program.step(state, frames)

    Attributes:
      start: a function, of parameters to the initial state.
      take: see `stream_phase`.
      bucket: shape of the views of a call.
    """

    start: Any
    take: CompiledPhase
    bucket: Bucket

    def init(self, params: Any) -> StreamState:
        """The state of a stream without views.

        Args:
          params: the parameters; they stay where they are if that is on the device.
        """
        params = jax.device_put(params, self.take.places[0])
        return StreamState(params, self.start(params))

    def step(self, state: StreamState, frames: Views) -> tuple[StreamState, Prediction]:
        """Take the next views in and predict them.

        The call returns before the device has finished.

        Args:
          state: from `init` or the step before; it is donated: do not use it again.
          frames: uint8 network images of the bucket's scenes, on the host, of at most as many views
            as the bucket has.

        Returns:
          The new state, and the prediction on the device: of as many views as the bucket has, of
          which those beyond `frames` are padding.
        """
        size = self.bucket.views
        host = _part(np.asarray(frames.images), 0, size), _part(np.asarray(frames.mask), 0, size)
        scene, *dense = self.take.run(
            state.params, state.scene, *jax.device_put(host, self.take.places[2:])
        )
        return StreamState(state.params, scene), Prediction(*dense)

    def predictions(self, params: Any, chunks: Iterable[Views]) -> Iterator[Prediction]:
        """Predict a stream chunk by chunk.

        While the device works on a chunk, the prediction of the one before goes to the host.

        Args:
          params: as of `init`.
          chunks: as `frames` of `step`, one after the other.

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
        """Reconstruct views that lie on the host.

        Args:
          params: as of `init`.
          views: host arrays of the bucket's scenes, any number of views.
          step: called after each call.

        Returns:
          Host arrays: cameras, depth and confidence.
        """
        images, valid = np.asarray(views.images), np.asarray(views.mask)
        scenes, count, size = *valid.shape, self.bucket.views
        calls = -(-max(1, int(valid.any(0).sum())) // size)  # views that fill up come last
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
        """Of depth, its confidence, w2c and intrinsics of a view."""
        image = (self.bucket.height, self.bucket.width)
        return image, image, (4, 4), (3, 3)


def compile_stream(model: Any, params: Any, bucket: Bucket) -> StreamProgram:
    """Compile a call; see `stream_phase`."""
    # Too small a program to be worth a place on disk.
    start = jax.jit(lambda p: model.init_state(p, bucket.scenes))
    return StreamProgram(start, stream_phase(model, params, bucket).compile(params), bucket)


def _on_host(prediction: Prediction, views: int) -> Prediction:
    """The first views of a prediction, as host arrays."""
    return jax.tree.map(lambda x: np.asarray(x)[:, :views], prediction)


def _part(x: Shaped[np.ndarray, "b v ..."], i: int, size: int) -> Shaped[np.ndarray, "b c ..."]:
    """Views of one call, filled up with zeros if they are fewer."""
    part = x[:, i * size : (i + 1) * size]
    if part.shape[1] == size:
        return part
    missing = [(0, 0)] * x.ndim
    missing[1] = (0, size - part.shape[1])
    return np.pad(part, missing)
