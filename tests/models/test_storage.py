"""Matrices stored in 16 bits: the same results from less memory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.conftest import micro, random_params
from zipmap_jax.convert.rules import flatten
from zipmap_jax.models.api import in_stored_formats
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import BF16, FP32
from zipmap_jax.structs import Views
from zipmap_jax.tree import tree_bytes


@pytest.mark.parametrize("variant", ["offline", "state_query"])
def test_predictions_are_bitwise_equal(variant: Any, images: jax.Array) -> None:
    params = random_params(micro(variant))
    model = ZipMap(micro(variant), BF16)

    def everything(params: Any) -> Any:
        state = model.init_state(params, images.shape[0])
        state, prediction = model.update(params, state, Views(images))
        if variant != "state_query":
            return state, prediction
        rays = jnp.ones((*images.shape[:-1], model.config.ray_channels))
        return state, prediction, model.read(params, state, rays)

    stored = in_stored_formats(params, model)
    assert tree_bytes(stored) < 0.8 * tree_bytes(params)
    jax.tree.map(
        np.testing.assert_array_equal, jax.jit(everything)(stored), jax.jit(everything)(params)
    )


def test_only_matrices_rounded_at_every_use_change() -> None:
    rounded, exact = (ZipMap(preset("tiny", "state_query"), p) for p in (BF16, FP32))
    shapes = jax.eval_shape(exact.init, jax.random.key(0))
    changed = {
        name
        for name, leaf in flatten(in_stored_formats(shapes, rounded)).items()
        if leaf.dtype == jnp.bfloat16
    }
    assert {"embedder/patch_proj/kernel", "global_blocks/ttt/to_qkv/kernel"} < changed
    assert "ray_embed/proj/kernel" in changed
    assert not any("head" in name or "lr_fc" in name for name in changed)
    assert all(name.endswith("kernel") for name in changed)
    assert in_stored_formats(shapes, exact) == shapes


def test_the_large_model_needs_little_more_than_half() -> None:
    model = ZipMap(preset("large", "offline"), BF16)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert tree_bytes(shapes) > 5.0e9
    assert tree_bytes(in_stored_formats(shapes, model)) < 3.7e9
