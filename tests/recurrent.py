"""A second model, a dozen lines of mathematics: recurrent, patches of 8, images in [-1, 1].

The state is the running mean colour of the views so far; depth is 3 plus the distance of a pixel's
red from it. Unlike ZipMap in every part, it tests that inference, batches, compilation and
exported programs use `models/api.py` alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tests.echo import EchoMemory
from zipmap_jax.convert.registry import ModelKind
from zipmap_jax.images.preparation import CropOrPad
from zipmap_jax.models.api import Model, Workload
from zipmap_jax.nn.config import FP32, Policy
from zipmap_jax.structs import Prediction, Views


@dataclasses.dataclass(frozen=True)
class SignedImages(CropOrPad):
    """Network images in [-1, 1]."""

    patch: int = 8

    def normalise(self, images: Any) -> Any:
        return super().normalise(images) * 2 - 1


@dataclasses.dataclass(frozen=True)
class RecurrentModel:
    """See the module docstring.

    Attributes:
      focal: in image widths.
    """

    focal: float = 0.8
    policy: Policy = FP32
    name: str = "recurrent"
    default_size: int = 48
    streams: bool = True
    phased: bool = False
    shares_views: bool = False
    query_channels: int = 0
    kernels: None = None
    preparation: SignedImages = SignedImages()

    def views_per_call(self, chunk: int) -> int:
        return chunk

    def stored_format(self, name: str) -> Any:
        return jnp.float32

    def portable(self) -> RecurrentModel:
        return self

    def memory(self, workload: Workload) -> EchoMemory:
        chunk = min(workload.chunk or workload.share, workload.share)
        height, width = workload.network_size
        return EchoMemory(chunk, 40 * chunk * height * width + workload.parameter_bytes)

    def init(self, key: Any) -> dict[str, Any]:
        return {"gain": jnp.ones(()), "step": {"kernel": jnp.full((3,), 0.1)}}

    def init_state(self, params: Any, batch: int = 1) -> dict[str, Any]:
        return {"mean": jnp.zeros((batch, 3)), "count": jnp.zeros((batch,), jnp.int32)}

    def update(
        self, params: Any, state: Any, views: Views, *, chunk: Any = None, start: Any = None
    ) -> tuple[Any, Prediction]:
        scenes, count, height, width, _ = views.images.shape
        wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (scenes, *x.shape[1:])), state)

        def view(state: Any, xs: Any) -> tuple[Any, Any]:
            image, valid, update, reset = xs
            state = jax.tree.map(
                lambda x: jnp.where(reset.reshape(-1, *(1,) * (x.ndim - 1)), 0, x), state
            )
            valid = valid & update
            new = state["count"] + 1
            mean = image.mean((1, 2))
            mixed = state["mean"] + (mean - state["mean"]) / new[:, None]
            difference = image[..., 0] - state["mean"][:, None, None, 0]
            depth = 3 + params["gain"] * jnp.abs(difference)
            place = state["count"][:, None] * params["step"]["kernel"][None]
            state = {
                "mean": jnp.where(valid[:, None], mixed, state["mean"]),
                "count": jnp.where(valid, new, state["count"]),
            }
            return state, (depth, place)

        update = jnp.ones_like(views.mask) if views.update is None else views.update
        reset = jnp.zeros_like(views.mask) if views.reset is None else views.reset
        xs = views.images, views.mask, update, reset
        order = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), xs)
        state, outputs = lax.scan(view, wide, order)
        depth, place = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), outputs)
        w2c = jnp.broadcast_to(jnp.eye(4), (scenes, count, 4, 4)).at[..., :3, 3].set(place)
        f = self.focal * width
        k = jnp.asarray([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1]])
        intrinsics = jnp.broadcast_to(k, (scenes, count, 3, 3))
        return state, Prediction(depth, 1 + depth, w2c, intrinsics)

    def read(self, params: Any, state: Any, query: Any, *, chunk: Any = None) -> Any:
        raise NotImplementedError


def _keeps_the_protocol(model: RecurrentModel) -> Model:
    """For the type checker alone."""
    return model


def _read_config(data: Mapping[str, Any]) -> float:
    return float(data["focal"])


KIND = ModelKind(_read_config, lambda focal, policy: RecurrentModel(focal, policy))
