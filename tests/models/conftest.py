"""A model small enough to compile in a second or two."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.convert.zipmap import expected_shapes, from_torch
from zipmap_jax.models.config import (
    CameraHeadConfig,
    DenseHeadConfig,
    EmbedderConfig,
    Variant,
    ZipMapConfig,
)
from zipmap_jax.models.presets import VARIANTS
from zipmap_jax.parity.synthetic import StateDict

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
    """Well-scaled parameters with nothing at zero, so that every one of them matters."""
    state = StateDict(expected_shapes(config), seed=1)
    return jax.tree.map(jnp.asarray, from_torch(state, config))


@pytest.fixture(scope="session")
def images() -> jax.Array:
    return jnp.asarray(np.random.default_rng(2).random((2, 5, 28, 42, 3)), jnp.float32)
