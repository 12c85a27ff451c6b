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

from zipmap_jax.errors import UserError
from zipmap_jax.inference.offline_program import CompiledPhase, Phase, Step
from zipmap_jax.structs import Prediction, Views, map_views

if TYPE_CHECKING:
    from jaxtyping import Array, Shaped

    from zipmap_jax.inference.buckets import Bucket
    from zipmap_jax.models.api import Model


OUTPUTS = ("depth", "depth_conf", "w2c", "intrinsics")
"""Fields of `Prediction` that a scene is made of."""


def bucket_of_call(model: Model, bucket: Bucket) -> Bucket:
    """Returns the views of a bucket in one call: all, unless the model streams."""
    if not model.streams or bucket.chunk is None:
        return bucket
    views = min(model.views_per_call(bucket.chunk), bucket.views)
    chunk = bucket.chunk if bucket.chunk < views else None
    return dataclasses.replace(bucket, views=views, chunk=chunk)


def stream_phase(
    model: Model,
    params: Any,
    bucket: Bucket,
    *,
    outputs: tuple[str, ...] = OUTPUTS,
    flags: tuple[str, ...] = (),
) -> Phase:
    """Returns the program of a call: state and views to state and predictions.

    Args:
      model: any model.
      params: its parameters, or their shapes.
      bucket: shape of the views of a call, see `bucket_of_call`.
      outputs: fields of `Prediction` that are computed.
      flags: fields of `Views` besides `images` and `valid` that the views carry.
    """

    def take(params: Any, state: Any, views: Views) -> tuple[Any, Prediction]:
        images = model.preparation.normalise(views.images)
        views = dataclasses.replace(views, images=images)
        start = model.init_state(params)
        state, prediction = model.update(params, state, views, chunk=bucket.chunk, start=start)
        fields = {name: getattr(prediction, name) for name in outputs}
        empty = dict.fromkeys(field.name for field in dataclasses.fields(Prediction))
        return state, Prediction(**{**empty, **jax.tree.map(_as_float32, fields)})

    shape, size = (bucket.scenes, bucket.views), (bucket.height, bucket.width)
    patches = size[0] * size[1] // model.preparation.patch**2
    shapes = {"update": shape, "reset": shape, "masked": (*shape, patches)}
    views: Any = Views(
        jax.ShapeDtypeStruct((*shape, *size, 3), jnp.uint8),  # pyright: ignore[reportArgumentType]
        jax.ShapeDtypeStruct(shape, jnp.bool_),  # pyright: ignore[reportArgumentType]
        **{name: jax.ShapeDtypeStruct(shapes[name], jnp.bool_) for name in flags},  # pyright: ignore
    )
    state = jax.eval_shape(lambda p: model.init_state(p, bucket.scenes), params)
    jitted = jax.jit(take, donate_argnums=1)
    return Phase(jitted, (state, views), (PartitionSpec(),) * 3, 1)


def _as_float32(x: Array) -> Array:
    return x.astype(jnp.float32)


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
      structure: pytree structure of the views, which depends on their flags.
    """

    start: Any
    take: CompiledPhase
    bucket: Bucket
    structure: Any

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

        Raises:
          UserError: the views are too many, or carry other flags than the program was compiled for.
        """
        views = dataclasses.replace(frames, valid=np.asarray(frames.mask))  # pyright: ignore
        shapes = jax.tree.map(lambda x: x.shape[1], views)
        if max(jax.tree.leaves(shapes)) > self.bucket.views:
            raise UserError(
                f"a step takes at most {self.bucket.views} views, got {frames.images.shape[1]}: "
                "pass fewer, or compile a program for more"
            )
        if jax.tree.structure(views) != self.structure:
            raise UserError(
                "the flags of the views differ from those that the program was compiled for: pass "
                "the same, or compile a program with them"
            )
        views = map_views(lambda x, axis: _padded(np.asarray(x), axis, self.bucket.views), views)
        state_and_prediction = self.take.run(
            state.params, state.scene, jax.device_put(views, self.take.shardings[2])
        )
        scene, prediction = state_and_prediction
        return StreamState(state.params, scene), prediction

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
        count, size = valid.shape[1], self.bucket.views
        calls = -(-max(1, int(valid.any(0).sum())) // size)  # padding is last
        spans = [slice(i * size, (i + 1) * size) for i in range(calls)]
        chunks = (Views(images[:, span], valid[:, span]) for span in spans)  # type: ignore[arg-type]
        whole: Any = None
        step(0, calls)
        for i, prediction in enumerate(self.predictions(params, chunks)):
            if whole is None:
                whole = map_views(lambda x, axis: _zeros(x, axis, count), prediction)
            _copy(prediction, whole, spans[i])
            step(i + 1, calls)
        return whole


def compile_stream(
    model: Model,
    params: Any,
    bucket: Bucket,
    *,
    outputs: tuple[str, ...] = OUTPUTS,
    flags: tuple[str, ...] = (),
) -> StreamProgram:
    """Compiles the program of a call; see `stream_phase`."""
    # Jitted only: too small for the cache on disk.
    start = jax.jit(lambda p: model.init_state(p, bucket.scenes))
    phase = stream_phase(model, params, bucket, outputs=outputs, flags=flags)
    structure = jax.tree.structure(phase.arguments[1])
    return StreamProgram(start, phase.compile(params), bucket, structure)


def _on_host(prediction: Prediction, views: int) -> Prediction:
    """The first views of a prediction, as host arrays."""
    return map_views(
        lambda x, axis: np.asarray(x)[(slice(None),) * axis + (slice(views),)], prediction
    )


def _zeros(x: np.ndarray, axis: int, views: int) -> np.ndarray:
    return np.zeros((*x.shape[:axis], views, *x.shape[axis + 1 :]), x.dtype)


def _copy(prediction: Prediction, whole: Prediction, span: slice) -> None:
    """Copy a prediction to its views of the whole one."""
    parts = iter(jax.tree.leaves(prediction))

    def write(x: np.ndarray, axis: int) -> np.ndarray:
        x[(slice(None),) * axis + (span,)] = next(parts)
        return x

    map_views(write, whole)


def _padded(x: Shaped[np.ndarray, "..."], axis: int, size: int) -> Shaped[np.ndarray, "..."]:
    """The array padded with zeros along an axis."""
    missing = [(0, 0)] * x.ndim
    missing[axis] = (0, size - x.shape[axis])
    return np.pad(x, missing) if missing[axis][1] else x
