"""A stand-in model that compiles in a moment."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.models.config import EmbedderConfig, ZipMapConfig
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
        if self.failure:
            raise MemoryError(self.failure)
        b, v = views.images.shape[:2]
        assert chunk is None or v % chunk == 0, "views come in whole chunks"
        tail = jnp.broadcast_to(params["tail"], (b, v, 6))
        x = jnp.broadcast_to(jnp.arange(v, dtype=jnp.float32)[None, :, None], (b, v, 1))
        pose = jnp.concatenate([x, jnp.zeros((b, v, 2)), tail], -1)
        # Only the last iteration is the answer.
        poses = jnp.stack([jnp.full_like(pose, jnp.nan), pose])
        prediction = Prediction(1 + views.images[..., 0], 2 + views.images[..., 1], poses)
        return state, prediction


def echo_model(tail=(0, 0, 0, 1, 1.0, 1.2), failure: str = "", **card: Any) -> LoadedModel:
    """It with parameters that make finite cameras."""
    model: Any = EchoModel(failure=failure)
    return LoadedModel(model, {"tail": jnp.array(tail, jnp.float32)}, card)
