"""A reconstruction in three programs, which keep images and predictions off the device.

1. encode: images to tokens, chunk by chunk;
2. mix: tokens of all views to features and cameras;
3. decode: features to depth and confidence, chunk by chunk; a chunk is copied to the host while the
   next is computed.

The device holds the weights, the features of all views, their tokens (1, 2) or temporaries of the
heads (3), and images or predictions of two chunks.
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

from zipmap_jax.inference.devices import VIEWS, sharded_jit, sharding_of
from zipmap_jax.nn.loops import put
from zipmap_jax.structs import Prediction

if TYPE_CHECKING:
    from jaxtyping import Array, Float, UInt8

    from zipmap_jax.inference.buckets import Bucket
    from zipmap_jax.structs import Views

Step = Callable[[int, int], None]
"""Called as `step(done, total)`."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """A program to compile.

    Attributes:
      jitted: function of parameters and `arguments`.
      arguments: global shapes of the arguments.
      specs: partition of parameters and arguments over the devices.
      devices: number of devices.
    """

    jitted: Any
    arguments: tuple[Any, ...]
    specs: tuple[PartitionSpec, ...]
    devices: int

    def compile(self, params: Any) -> CompiledPhase:
        """Compiles the program for the first devices of this process."""
        compiled = self.jitted.lower(params, *self.arguments).compile()
        if self.devices > 1:
            shardings = tuple(sharding_of(self.devices, spec) for spec in self.specs)
        else:
            shardings = (jax.tree.leaves(compiled.input_shardings)[0],) * len(self.specs)
        return CompiledPhase(compiled, shardings)


@dataclasses.dataclass(frozen=True)
class CompiledPhase:
    """A compiled program and the shardings of its arguments."""

    run: Any
    shardings: tuple[Any, ...]


def phases_of(model: Any, params: Any, bucket: Bucket, *, points: bool = False) -> dict[str, Phase]:
    """Returns the programs "encode", "mix" and "decode" of a bucket.

    Args:
      model: a `PhasedModel`.
      params: its parameters, or their shapes.
      bucket: shape of the views, in whole chunks.
      points: whether the heads also predict local points.
    """
    if bucket.devices > 1:
        model = model.sharded(VIEWS)
    size = (bucket.height, bucket.width)

    def encode(params: Any, tokens: Array, images: Array, first: Array, i: Array) -> Any:
        # i + 1 is ready when the images have been used; i itself would be ready at once.
        images = model.preparation.normalise(images[0])
        return put(tokens, model.encode(params, images, first[0]), i), i + 1

    def mix(params: Any, tokens: Array, valid: Array) -> Any:
        state = model.init_state(params)
        _, features, cameras, tokens = model.mix(params, state, tokens, valid, size)
        return features, cameras, tokens

    def decode(params: Any, features: Any, i: Array) -> tuple[Array, ...]:
        chunk = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, 0), features)
        dense = model.decode(params, chunk, size, bucket.chunk)
        return tuple(x.astype(jnp.float32) for x in dense[: 3 if points else 2])

    shape, index = bucket.chunk_shape, jax.ShapeDtypeStruct((), jnp.int32)
    images: Any = jax.ShapeDtypeStruct((*shape, *size, 3), jnp.uint8)
    first: Any = jax.ShapeDtypeStruct(shape, jnp.bool_)
    valid: Any = jax.ShapeDtypeStruct((bucket.scenes, bucket.views), jnp.bool_)
    chunk_tokens = jax.eval_shape(
        lambda p, x, f: model.encode(p, model.preparation.normalise(x[0]), f[0]),
        params,
        images,
        first,
    )
    tokens: Any = jax.ShapeDtypeStruct(
        (bucket.devices * bucket.chunks, *chunk_tokens.shape), chunk_tokens.dtype
    )

    def phase(
        function: Any, arguments: tuple[Any, ...], in_specs: Any, out_specs: Any, *donated: int
    ) -> Phase:
        specs = (PartitionSpec(), *in_specs)
        if bucket.devices > 1:
            jitted = sharded_jit(function, bucket.devices, specs, out_specs, donated)
        else:
            jitted = jax.jit(function, donate_argnums=donated)
        return Phase(jitted, arguments, specs, bucket.devices)

    chunks, views, same = PartitionSpec(VIEWS), PartitionSpec(None, VIEWS), PartitionSpec()
    in_specs = (chunks, chunks, chunks, same)
    phases = {
        "encode": phase(encode, (tokens, images, first, index), in_specs, (chunks, same), 1),
        "mix": phase(mix, (tokens, valid), (chunks, views), (chunks, views, chunks), 1),
    }
    features, *_ = phases["mix"].jitted.eval_shape(params, tokens, valid)
    return {**phases, "decode": phase(decode, (features, index), (chunks, same), chunks)}


@dataclasses.dataclass(frozen=True)
class OfflineProgram:
    """The three compiled programs.

    Attributes:
      encode, mix, decode: see `phases_of`.
      tokens: shape of the tokens of all views.
      bucket: shape of the views.
    """

    encode: CompiledPhase
    mix: CompiledPhase
    decode: CompiledPhase
    tokens: jax.ShapeDtypeStruct
    bucket: Bucket

    def __call__(self, params: Any, views: Views, step: Step) -> Prediction:
        """Reconstructs views on the host.

        Args:
          params: the parameters, copied to the device unless they are there.
          views: host arrays in the shape of the bucket.
          step: called after each chunk is encoded, mixed and decoded.

        Returns:
          Host arrays: cameras, depth and confidence.
        """
        chunks = self.bucket.chunks

        def done(count: int) -> None:
            step(count, 3 * chunks)

        done(0)
        params = jax.device_put(params, self.mix.shardings[0])
        tokens = self._encode(params, np.asarray(views.images), done)
        valid = jax.device_put(views.valid, self.mix.shardings[2])
        features, cameras, tokens = self.mix.run(params, tokens, valid)
        w2c, intrinsics = jax.device_get(cameras)
        del tokens  # their memory is free for the heads
        done(2 * chunks)
        depth, confidence = self._decode(params, features, done)
        return Prediction(depth, confidence, w2c, intrinsics)  # type: ignore[arg-type]

    def _encode(
        self, params: Any, images: UInt8[np.ndarray, "b v h w 3"], done: Callable[[int], None]
    ) -> Array:
        """The tokens of all views; the device holds at most two chunks of images."""
        b = self.bucket
        first = np.zeros((b.chunks, *b.chunk_shape), bool)
        first[0, 0, :, 0] = True
        of_chunks = _in_chunks(images, b)
        tokens = jnp.zeros(self.tokens.shape, self.tokens.dtype, device=self.encode.shardings[1])
        before = None
        for i in range(b.chunks):
            chunk = jax.device_put((of_chunks[i], first[i]), self.encode.shardings[2:4])
            tokens, used = self.encode.run(params, tokens, *chunk, np.int32(i))
            if before is not None:
                jax.block_until_ready(before)
                done(i)
            before = used
        jax.block_until_ready(before)
        done(b.chunks)
        return tokens

    def _decode(
        self, params: Any, features: Any, done: Callable[[int], None]
    ) -> list[Float[np.ndarray, "b v h w"]]:
        """Depth and confidence; a chunk is copied to the host while the next is computed."""
        b = self.bucket
        shape = (b.scenes, b.views, b.height, b.width)
        results = [np.empty(shape, np.float32) for _ in range(2)]

        def dispatch(i: int) -> tuple[Array, ...]:
            pending = self.decode.run(params, features, np.int32(i))
            for x in pending:
                x.copy_to_host_async()
            return pending

        def keep(i: int, pending: tuple[Array, ...]) -> None:
            for result, x in zip(results, pending, strict=True):
                _in_chunks(result, b)[i] = x
            done(2 * b.chunks + i + 1)

        pending = dispatch(0)
        for i in range(1, b.chunks):
            before, pending = pending, dispatch(i)
            keep(i - 1, before)
            del before
        keep(b.chunks - 1, pending)
        return results


def compile_phases(model: Any, params: Any, bucket: Bucket) -> OfflineProgram:
    """Compiles the three programs; see `phases_of`."""
    phases = phases_of(model, params, bucket)
    compiled = {name: phase.compile(params) for name, phase in phases.items()}
    return OfflineProgram(**compiled, tokens=phases["encode"].arguments[0], bucket=bucket)


def _in_chunks(x: Float[np.ndarray, "b v ..."], bucket: Bucket) -> Float[np.ndarray, "n k b c ..."]:
    """A view of the array by chunk, device, scene and view of the chunk."""
    devices, scenes, views = bucket.chunk_shape
    x = x.reshape(scenes, devices, bucket.chunks, views, *x.shape[2:])
    return np.moveaxis(x, 0, 2).swapaxes(0, 1)
