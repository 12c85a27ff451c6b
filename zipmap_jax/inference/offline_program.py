"""A reconstruction in three programs, so that images and predictions need not lie on the device.

1. embed: a chunk of images goes to the device and becomes tokens, for one chunk after the other;
2. zip: the tokens of all views become tapped features, and cameras;
3. heads: the features of a chunk become depth and confidence, which go to the host while the next
   chunk is computed.

The device holds weights and features of all views, besides these their tokens (1, 2) or temporaries
of the heads (3), and images or predictions of two chunks. Streaming models take another way: they
need the features of one chunk at a time only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from zipmap_jax.inference.devices import VIEWS, placed, split
from zipmap_jax.models.loops import put
from zipmap_jax.structs import Prediction

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.inference.buckets import Bucket
    from zipmap_jax.structs import Views

Step = Callable[[int, int], None]
"""Called as `step(done, total)`."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """A program, before it is compiled.

    Attributes:
      jitted: the function of parameters and `arguments`.
      arguments: their shapes, for all devices together.
      places: along which axes devices share parameters and arguments.
      devices: how many.
    """

    jitted: Any
    arguments: tuple[Any, ...]
    places: tuple[PartitionSpec, ...]
    devices: int

    def compile(self, params: Any) -> CompiledPhase:
        """For the first so many devices of this process."""
        compiled = self.jitted.lower(params, *self.arguments).compile()
        if self.devices > 1:
            return CompiledPhase(
                compiled, tuple(placed(self.devices, place) for place in self.places)
            )
        here = jax.tree.leaves(compiled.input_shardings)[0]
        return CompiledPhase(compiled, (here,) * len(self.places))


@dataclasses.dataclass(frozen=True)
class CompiledPhase:
    """A compiled program, and where its arguments have to be."""

    run: Any
    places: tuple[Any, ...]


def phases_of(model: Any, params: Any, bucket: Bucket, *, points: bool = False) -> dict[str, Phase]:
    """The three programs of a bucket: "embed", "zip" and "heads".

    Args:
      model: a `ZipMap` without a window.
      params: its parameters, or their shapes.
      bucket: shape of the views, which are whole chunks.
      points: whether the heads give local points as well.
    """
    if bucket.devices > 1:
        model = dataclasses.replace(model, views_axis=VIEWS)
    size = (bucket.height, bucket.width)

    def embed(params: Any, tokens: Array, images: Array, first: Array, i: Array) -> Any:
        # Its successor tells the host that the images are used up; itself would be there at once.
        return put(tokens, model.embed(params, images[0], first[0]), i), i + 1

    def zip_all(params: Any, tokens: Array, valid: Array) -> Any:
        state = model.init_state(params)
        _, taps, poses, tokens = model.zip_tokens(params, state, tokens, valid, size)
        return taps, poses[-1:].astype(jnp.float32), tokens

    def heads(params: Any, taps: Array, i: Array) -> tuple[Array, ...]:
        some = lax.dynamic_index_in_dim(taps, i, 0)
        found = model.dense(params, some, size, bucket.chunk)
        return tuple(x.astype(jnp.float32) for x in found[: 3 if points else 2])

    shape, index = bucket.chunk_shape, jax.ShapeDtypeStruct((), jnp.int32)
    images: Any = jax.ShapeDtypeStruct((*shape, *size, 3), jnp.float32)
    first: Any = jax.ShapeDtypeStruct(shape, jnp.bool_)
    valid: Any = jax.ShapeDtypeStruct((bucket.scenes, bucket.views), jnp.bool_)
    one = jax.eval_shape(lambda p, x, f: model.embed(p, x[0], f[0]), params, images, first)
    tokens: Any = jax.ShapeDtypeStruct((bucket.devices * bucket.chunks, *one.shape), one.dtype)

    def phase(
        function: Any, arguments: tuple[Any, ...], spread: Any, outputs: Any, *donated: int
    ) -> Phase:
        places = (PartitionSpec(), *spread)
        if bucket.devices > 1:
            jitted = split(function, bucket.devices, places, outputs, donated)
        else:
            jitted = jax.jit(function, donate_argnums=donated)
        return Phase(jitted, arguments, places, bucket.devices)

    spread, same = PartitionSpec(VIEWS), PartitionSpec()
    of_views, of_poses = PartitionSpec(None, VIEWS), PartitionSpec(None, None, VIEWS)
    each = (spread, spread, spread, same)
    phases = {
        "embed": phase(embed, (tokens, images, first, index), each, (spread, same), 1),
        "zip": phase(zip_all, (tokens, valid), (spread, of_views), (spread, of_poses, spread), 1),
    }
    taps, *_ = phases["zip"].jitted.eval_shape(params, tokens, valid)
    return {**phases, "heads": phase(heads, (taps, index), (spread, same), spread)}


@dataclasses.dataclass(frozen=True)
class OfflineProgram:
    """The three programs, ready to run.

    Attributes:
      embed, zip, heads: see `phases_of`.
      tokens: shape of the tokens of all views.
      bucket: shape of the views.
    """

    embed: CompiledPhase
    zip: CompiledPhase
    heads: CompiledPhase
    tokens: jax.ShapeDtypeStruct
    bucket: Bucket

    def __call__(self, params: Any, views: Views, step: Step) -> Prediction:
        """Reconstruct views that lie on the host.

        Args:
          params: the parameters; they stay where they are if that is on the device.
          views: host arrays in the shape of the bucket.
          step: told of each chunk three times: once it is embedded, zipped and predicted.

        Returns:
          Host arrays: depth, confidence and the last pose encoding.
        """
        chunks = self.bucket.chunks

        def done(count: int) -> None:
            step(count, 3 * chunks)

        done(0)
        params = jax.device_put(params, self.zip.places[0])
        tokens = self._embed(params, np.asarray(views.images), done)
        valid = jax.device_put(views.valid, self.zip.places[2])
        taps, poses, tokens = self.zip.run(params, tokens, valid)
        cameras = jax.device_get(poses)
        del tokens  # no program uses their place any more: it is free for the heads
        done(2 * chunks)
        depth, confidence = self._predict(params, taps, done)
        return Prediction(depth=depth, depth_conf=confidence, pose_enc=cameras)  # type: ignore[arg-type]

    def _embed(
        self, params: Any, images: Float[np.ndarray, "b v h w 3"], done: Callable[[int], None]
    ) -> Array:
        """The tokens of all views. No more than two chunks of images lie on the device."""
        b = self.bucket
        first = np.zeros((b.chunks, *b.chunk_shape), bool)
        first[0, 0, :, 0] = True
        of_chunks = _in_chunks(images, b)
        tokens = jnp.zeros(self.tokens.shape, self.tokens.dtype, device=self.embed.places[1])
        before = None
        for i in range(b.chunks):
            chunk = jax.device_put((of_chunks[i], first[i]), self.embed.places[2:4])
            tokens, used = self.embed.run(params, tokens, *chunk, np.int32(i))
            if before is not None:
                jax.block_until_ready(before)
                done(i)
            before = used
        jax.block_until_ready(before)
        done(b.chunks)
        return tokens

    def _predict(
        self, params: Any, taps: Array, done: Callable[[int], None]
    ) -> list[Float[np.ndarray, "b v h w"]]:
        """Depth and confidence; those of a chunk go to the host while the next is computed."""
        b = self.bucket
        shape = (b.scenes, b.views, b.height, b.width)
        results = [np.empty(shape, np.float32) for _ in range(2)]

        def dispatch(i: int) -> tuple[Array, ...]:
            coming = self.heads.run(params, taps, np.int32(i))
            for x in coming:
                x.copy_to_host_async()
            return coming

        def keep(i: int, coming: tuple[Array, ...]) -> None:
            for result, x in zip(results, coming, strict=True):
                _in_chunks(result, b)[i] = x
            done(2 * b.chunks + i + 1)

        coming = dispatch(0)
        for i in range(1, b.chunks):
            before, coming = coming, dispatch(i)
            keep(i - 1, before)
            del before
        keep(b.chunks - 1, coming)
        return results


def compile_phases(model: Any, params: Any, bucket: Bucket) -> OfflineProgram:
    """Compile all three; see `phases_of`."""
    phases = phases_of(model, params, bucket)
    ready = {name: phase.compile(params) for name, phase in phases.items()}
    return OfflineProgram(**ready, tokens=phases["embed"].arguments[0], bucket=bucket)


def _in_chunks(x: Float[np.ndarray, "b v ..."], bucket: Bucket) -> Float[np.ndarray, "n k b c ..."]:
    """The same memory: chunks, the devices that work on one each, scenes, views of a chunk."""
    devices, scenes, views = bucket.chunk_shape
    x = x.reshape(scenes, devices, bucket.chunks, views, *x.shape[2:])
    return np.moveaxis(x, 0, 2).swapaxes(0, 1)
