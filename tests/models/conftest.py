"""A model small enough to compile in a second or two."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.convert.identify import expected_shapes, from_torch
from zipmap_jax.models.config import Variant, ZipMapConfig
from zipmap_jax.models.presets import VARIANTS
from zipmap_jax.models.state import SceneState
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import CameraHeadConfig, DenseHeadConfig, EmbedderConfig
from zipmap_jax.parity.synthetic import StateDict
from zipmap_jax.structs import HeadOutputs, Views

MICRO = ZipMapConfig(
    preset="micro",
    embedder=EmbedderConfig(width=32, depth=1, heads=2, image_size=56),
    depth=4,
    heads=2,
    taps=(0, 1, 2, 3),
    layer_scale_init=0.5,
    camera=CameraHeadConfig(depth=1, heads=2, iterations=2, layer_scale_init=0.5),
    dense=DenseHeadConfig(features=8, out_channels=(8, 8, 16, 16), hidden=8),
)


def micro(variant: Variant) -> ZipMapConfig:
    """The micro model in one of the four variants."""
    changes = dict(VARIANTS[variant])
    changes["camera"] = dataclasses.replace(MICRO.camera, **changes.get("camera", {}))
    return dataclasses.replace(MICRO, variant=variant, **changes)


@functools.cache
def random_params(config: ZipMapConfig) -> Any:
    """Well-scaled non-zero parameters, so that every parameter affects the result."""
    state = StateDict(expected_shapes(config), seed=1)
    return jax.tree.map(jnp.asarray, from_torch(state, config))


@functools.cache
def compiled(model: ZipMap) -> Any:
    """`model.forward`, compiled once per shape for all tests."""

    def forward(
        params: Any,
        state: SceneState,
        views: Views,
        chunk: int | None = None,
        start: SceneState | None = None,
    ) -> Any:
        return model.forward(params, state, views, chunk=chunk, start=start)[:2]

    return jax.jit(forward, static_argnames="chunk")


def run(
    variant: Any, images: jax.Array, chunk: int | None = None, **changes: Any
) -> tuple[SceneState, HeadOutputs]:
    model = ZipMap(dataclasses.replace(micro(variant), **changes))
    params = random_params(micro(variant))
    state = model.init_state(params, images.shape[0])
    return compiled(model)(params, state, Views(images), chunk=chunk)


def close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    """Assert equality up to `tolerance` of the largest entry of each array."""

    def one(x: Any, y: Any) -> None:
        scale = float(np.abs(y).max())
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * scale)

    jax.tree.map(one, a, b)


# Newton-Schulz amplifies rounding in directions that ten tokens do not fill; see STATES in
# zipmap_jax.parity.end_to_end. Predictions have a tolerance of 1e-5.
STATE = 3e-4


def same(a: tuple[SceneState, HeadOutputs], b: tuple[SceneState, HeadOutputs]) -> None:
    close(a[0], b[0], STATE)
    close(a[1], b[1])


@pytest.fixture(scope="session")
def images() -> jax.Array:
    return jnp.asarray(np.random.default_rng(2).random((2, 5, 28, 42, 3)), jnp.float32)
