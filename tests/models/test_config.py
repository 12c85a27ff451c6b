"""Presets, parameter counts and validation."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from tests.models.conftest import MICRO
from zipmap_jax.models.presets import DINOV2, preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import BF16, FP32, FastWeightConfig
from zipmap_jax.structs import Views


def count(tree: Any) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def shapes(variant: Any) -> Any:
    return jax.eval_shape(ZipMap(preset("large", variant)).init, jax.random.key(0))


# Counts of the released models, from their state dicts.
LARGE = {
    "embedder": 304_372_736,
    "frame_blocks": 302_364_672,
    "global_blocks": 478_642_248,
    "camera_head": 216_174_610,
    "depth_head": 32_654_562,
    "local_point_head": 32_654_595,
}


def test_large_parameters_per_module() -> None:
    params = shapes("offline")
    assert {name: count(params[name]) for name in LARGE} == LARGE
    assert count(params["camera_token"]) + count(params["register_token"]) == 10_240


@pytest.mark.parametrize(
    ("variant", "total"),
    [
        ("offline", 1_366_873_663),
        ("ref_view", 1_366_873_663),
        ("streaming", 1_167_558_198),
        ("state_query", 1_401_342_852),
    ],
)
def test_large_parameters_in_total(variant: Any, total: int) -> None:
    assert count(shapes(variant)) == total


def test_large_query_modules() -> None:
    params = shapes("state_query")
    assert count(params["nvs_head"]) == 32_654_661
    assert count(params["ray_cond_token"]) + count(params["ray_embed"]) == 1_814_528
    assert count(shapes("streaming")["camera_mlp_head"]) == 16_859_145


def test_large_state_size() -> None:
    """604 MB of fp32 fast weights per scene."""
    model = ZipMap(preset("large"))
    state = jax.eval_shape(lambda p: model.init_state(p, 1), shapes("offline"))
    assert count(state.weights) == 150_994_944


def test_large_traces_at_full_size() -> None:
    model = ZipMap(preset("large"), BF16)
    params = shapes("offline")
    state = jax.eval_shape(lambda p: model.init_state(p, 1), params)
    images = jax.ShapeDtypeStruct((1, 48, 392, 518, 3), "float32")
    update = jax.jit(model.update, static_argnames="chunk")
    _, prediction = jax.eval_shape(
        lambda p, s, i: update(p, s, Views(i), chunk=16), params, state, images
    )
    assert prediction.depth.shape == (1, 48, 392, 518)
    assert prediction.w2c.shape == (1, 48, 4, 4)
    assert prediction.intrinsics.shape == (1, 48, 3, 3)


def test_tiny_fits_the_package() -> None:
    params = jax.eval_shape(ZipMap(preset("tiny")).init, jax.random.key(0))
    assert 2 * count(params) < 16 * 2**20


@pytest.mark.parametrize("name", sorted(DINOV2))
def test_every_dinov2_size_embeds(name: str) -> None:
    embedder = DINOV2[name]
    config = dataclasses.replace(
        preset("small"), embedder=embedder, heads=embedder.heads, depth=4, taps=(0, 1, 2, 3)
    )
    model = ZipMap(config)
    params = jax.eval_shape(model.first_tokens.embedder.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 56, 70, 3), "float32")
    tokens = jax.eval_shape(model.first_tokens.embedder.__call__, params, images)
    assert tokens.shape == (2, 20, embedder.width)


def test_bare_patch_projection_embeds() -> None:
    config = dataclasses.replace(MICRO, embedder=dataclasses.replace(MICRO.embedder, depth=0))
    model = ZipMap(config)
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert set(params["embedder"]) == {"patch_proj"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(heads=5), "32 over 5 heads"),
        (dict(taps=(0, 1, 2, 2)), "four different layers"),
        (dict(taps=(0, 3)), "four different layers"),
        (dict(taps=(0, 1, 2, 3, 4), depth=5), "four different layers"),
        (dict(taps=(-1, 1, 2, 3)), "four different layers"),
        (dict(taps=(0, 1, 2, 3), depth=6), "the last layer, 5"),
        (dict(variant="online"), "unknown variant 'online'"),
        (dict(window=0), "window must be at least 1"),
        (dict(fast=FastWeightConfig(heads=2)), "gate is defined for one"),
    ],
)
def test_invalid_configurations_raise(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(MICRO, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(newton_schulz="float32"), "newton_schulz='float32'.*bf16_operands"),
        (dict(attention="flash"), "attention='flash'.*cudnn"),
        (dict(precision="tf32"), "precision='tf32'.*highest"),
    ],
)
def test_invalid_policies_raise(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(FP32, **changes)


def test_unknown_presets_raise() -> None:
    with pytest.raises(ValueError, match="unknown preset 'huge': choose one of large, small, tiny"):
        preset("huge")
    with pytest.raises(ValueError, match="unknown preset 'online'"):
        preset("large", "online")  # type: ignore[arg-type]
