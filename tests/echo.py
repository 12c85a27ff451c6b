"""A small model that compiles quickly."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.geometry.pose import decode_pose
from zipmap_jax.images.preparation import CropOrPad
from zipmap_jax.models.api import Model, Workload
from zipmap_jax.nn.config import FP32, Policy
from zipmap_jax.structs import Prediction, Views


@dataclasses.dataclass(frozen=True)
class EchoMemory:
    """Bytes of images and predictions."""

    live_chunk: int
    total: int
    text: str = "images and predictions"


@dataclasses.dataclass(frozen=True)
class EchoModel:
    """Depth = 1 + red channel, confidence = 2 + green channel.

    View i gets translation (i, 0, 0); rotation, fields of view and scale come from `params`.
    """

    policy: Policy = FP32
    failure: str = ""
    name: str = "echo"
    default_size: int = 32
    streams: bool = False
    phased: bool = True
    shares_views: bool = True
    query_channels: int = 0
    kernels: None = None
    preparation: CropOrPad = CropOrPad(4)

    def views_per_call(self, chunk: int) -> int:
        return chunk

    def stored_format(self, name: str) -> Any:
        return jnp.float32

    def portable(self) -> EchoModel:
        return self

    def sharded(self, axis: str) -> EchoModel:
        return self

    def memory(self, workload: Workload) -> EchoMemory:
        chunk = min(workload.chunk or workload.share, workload.share)
        height, width = workload.network_size
        return EchoMemory(chunk, 20 * workload.share * height * width + workload.parameter_bytes)

    def init(self, key: Array) -> dict[str, Array]:
        return {"tail": jnp.array((0, 0, 0, 1, 1.0, 1.2), jnp.float32)}

    def init_state(self, params: Any, batch: int = 1) -> Array:
        return jnp.zeros((batch,), jnp.int32)

    def update(
        self,
        params: Any,
        state: Array,
        views: Views,
        *,
        chunk: int | None = None,
        start: Any = None,
    ) -> tuple[Array, Prediction]:
        tokens = self.encode(params, views.images, views.mask)[None]
        size = views.images.shape[2:4]
        state, features, cameras, _ = self.mix(params, state, tokens, views.mask, size)
        depth, confidence, _ = (x[0] for x in self.decode(params, features, size, chunk))
        return state, Prediction(depth, confidence, *cameras)

    def read(self, params: Any, state: Array, query: Any, *, chunk: int | None = None) -> Any:
        raise NotImplementedError

    def encode(self, params: Any, images: Array, first: Array) -> Array:
        if self.failure:
            raise MemoryError(self.failure)
        return images

    def mix(
        self, params: Any, state: Array, tokens: Array, valid: Array, size: tuple[int, ...]
    ) -> tuple[Array, Array, tuple[Array, Array], Array]:
        n, b, c = tokens.shape[:3]
        assert valid.shape == (b, n * c), "views come in whole chunks"
        v = n * c
        tail = jnp.broadcast_to(params["tail"], (b, v, 6))
        x = jnp.broadcast_to(jnp.arange(v, dtype=jnp.float32)[None, :, None], (b, v, 1))
        pose = jnp.concatenate([x, jnp.zeros((b, v, 2)), tail], -1)
        cameras = decode_pose(pose, (size[0], size[1]))
        return state + valid.sum(1), tokens[:, None], cameras, tokens

    def decode(
        self, params: Any, features: Array, size: tuple[int, ...], chunk: int | None = None
    ) -> tuple[Array, Array, Array]:
        images = features[:, 0]
        assert images.shape[3:5] == size
        return 1 + images[..., 0], 2 + images[..., 1], images


def _keeps_the_protocol(model: EchoModel) -> Model:
    """For the type checker alone."""
    return model


def echo_model(tail=(0, 0, 0, 1, 1.0, 1.2), failure: str = "", **card: Any) -> LoadedModel:
    """It with parameters that make finite cameras."""
    model: Any = EchoModel(failure=failure)
    return LoadedModel(model, {"tail": jax.numpy.array(tail, jnp.float32)}, card)
