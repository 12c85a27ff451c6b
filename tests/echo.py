"""A stand-in model that compiles in a moment."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.nn.config import EmbedderConfig
from zipmap_jax.structs import Prediction, SceneState, Views


@dataclasses.dataclass(frozen=True)
class EchoModel:
    """Answers with what it was given: depth = 1 + red channel, confidence = 2 + green channel.

    View i gets translation (i, 0, 0); rotation, fields of view and scale come from `params`.
    """

    config: ZipMapConfig = ZipMapConfig(
        preset="echo", embedder=EmbedderConfig(width=32, patch=4, image_size=32), heads=2
    )
    failure: str = ""

    def init_state(self, params: Any, batch: int = 1) -> SceneState:
        zeros = jnp.zeros((1, batch, 1, 1, 1))
        return SceneState(zeros, zeros, zeros, jnp.zeros((batch,), jnp.int32))

    def update(
        self, params: Any, state: SceneState, views: Views, *, chunk: int | None = None
    ) -> tuple[SceneState, Prediction]:
        tokens = self.embed(params, views.images, views.mask)[None]
        size = views.images.shape[2:4]
        state, taps, poses, _ = self.zip_tokens(params, state, tokens, views.mask, size)
        depth, confidence, _ = (x[0] for x in self.dense(params, taps, size, chunk))
        return state, Prediction(depth, confidence, poses)

    def embed(self, params: Any, images: Array, first: Array) -> Array:
        if self.failure:
            raise MemoryError(self.failure)
        return images

    def zip_tokens(
        self, params: Any, state: SceneState, tokens: Array, valid: Array, size: tuple[int, ...]
    ) -> tuple[SceneState, Array, Array, Array]:
        n, b, c = tokens.shape[:3]
        assert valid.shape == (b, n * c), "views come in whole chunks"
        v = n * c
        tail = jnp.broadcast_to(params["tail"], (b, v, 6))
        x = jnp.broadcast_to(jnp.arange(v, dtype=jnp.float32)[None, :, None], (b, v, 1))
        pose = jnp.concatenate([x, jnp.zeros((b, v, 2)), tail], -1)
        # Only the last iteration is the answer.
        return state, tokens[:, None], jnp.stack([jnp.full_like(pose, jnp.nan), pose]), tokens

    def dense(
        self, params: Any, taps: Array, size: tuple[int, ...], most: int | None = None
    ) -> tuple[Array, Array, Array]:
        images = taps[:, 0]
        assert images.shape[3:5] == size
        return 1 + images[..., 0], 2 + images[..., 1], images


def echo_model(tail=(0, 0, 0, 1, 1.0, 1.2), failure: str = "", **card: Any) -> LoadedModel:
    """It with parameters that make finite cameras."""
    model: Any = EchoModel(failure=failure)
    return LoadedModel(model, {"tail": jnp.array(tail, jnp.float32)}, card)
