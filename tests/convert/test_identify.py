from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from zipmap_jax.convert.identify import (
    RELEASED_FILES,
    expected_shapes,
    from_torch,
    identify,
    to_torch,
)
from zipmap_jax.convert.rules import flatten, our_shapes, shapes_of
from zipmap_jax.convert.table import rules
from zipmap_jax.models.config import Variant, ZipMapConfig
from zipmap_jax.models.presets import VARIANTS, preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import DenseHeadConfig, EmbedderConfig

GOLDEN = Path(__file__).parents[1] / "golden"
COUNTS = {
    "zipmap_large": 1499,
    "zipmap_ref_view_large": 1499,
    "zipmap_streaming_large": 1434,
    "zipmap_state_query_large": 1566,
    "zipmap_small": 1331,
    "zipmap_streaming_small": 1266,
    "zipmap_state_query_small": 1398,
}
# A small configuration with everything that can differ between models set to something unusual.
ODD = dataclasses.replace(
    preset("tiny", "state_query"),
    preset="custom",
    embedder=EmbedderConfig(width=64, depth=1, heads=1, image_size=42, registers=2),
    heads=2,
    depth=5,
    mlp_ratio=2,
    registers=3,
    taps=(0, 1, 2, 4),
    ray_channels=6,
    # Initial gains leave no trace in a checkpoint.
    dense=DenseHeadConfig(features=32, out_channels=(32, 48, 64, 64), hidden=16),
)


def manifest(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"manifest_{name}.json").read_text())


def state_of(config: ZipMapConfig, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = expected_shapes(config)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", COUNTS)
def test_table_covers_every_tensor_of_the_reference(name: str) -> None:
    recorded = manifest(name)
    got = {key: tuple(shape) for key, shape in recorded["tensors"].items()}
    variant: Variant = "ref_view" if "ref_view" in name else recorded["variant"]
    expected = expected_shapes(preset(recorded["size"], variant))
    assert expected == got
    assert len(expected) == COUNTS[name] == recorded["num_tensors"]
    assert sum(map(math.prod, expected.values())) == recorded["num_values"]


@pytest.mark.parametrize("name", COUNTS)
def test_identify_recognises_the_recorded_models(name: str) -> None:
    recorded = manifest(name)
    shapes = {key: tuple(shape) for key, shape in recorded["tensors"].items()}
    file_name = recorded["released_checkpoint"] or ""
    config, notes = identify(shapes, file_name=file_name)
    assert config == preset(recorded["size"], RELEASED_FILES.get(file_name, recorded["variant"]))
    # Only a known file name determines the reference view.
    assert bool(notes) == (recorded["variant"] == "offline" and not file_name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip_is_bit_exact(variant: Variant) -> None:
    config = preset("tiny", variant)
    state = state_of(config)
    back = to_torch(from_torch(state, config), config)
    assert back.keys() == state.keys()
    assert all(back[name].tobytes() == state[name].tobytes() for name in state)


@pytest.mark.parametrize("variant", VARIANTS)
def test_tree_equals_the_one_of_the_model(variant: Variant) -> None:
    config = preset("large", variant)
    made = jax.eval_shape(ZipMap(config).init, jax.random.key(0))
    assert shapes_of(flatten(made)) == our_shapes(rules(config))


@pytest.mark.parametrize(
    "config",
    [
        ODD,
        dataclasses.replace(ODD, fast=dataclasses.replace(ODD.fast, heads=2, gate=False)),
        dataclasses.replace(ODD, fast=dataclasses.replace(ODD.fast, bias=False)),
        dataclasses.replace(ODD, embedder=EmbedderConfig(width=64, depth=0, heads=1)),
    ],
    ids=["odd", "two heads", "no bias", "bare convolution"],
)
def test_unusual_models(config: ZipMapConfig) -> None:
    made = jax.eval_shape(ZipMap(config).init, jax.random.key(0))
    assert shapes_of(flatten(made)) == our_shapes(rules(config))
    identified, notes = identify(expected_shapes(config))
    assert "no preset" in notes[0]
    assert expected_shapes(identified) == expected_shapes(config)
    same = ("variant", "heads", "depth", "mlp_ratio", "registers", "ray_channels", "dense", "fast")
    assert all(getattr(identified, name) == getattr(config, name) for name in same)


def test_variant_decides_between_equal_tensors() -> None:
    shapes = expected_shapes(preset("tiny"))
    default, notes = identify(shapes)
    assert default == preset("tiny", "offline")
    assert "ref_view" in notes[0]
    assert identify(shapes, variant="ref_view") == (preset("tiny", "ref_view"), ())
    named = identify(shapes, file_name="checkpoint_with_ref_view.pt")
    assert named == (preset("tiny", "ref_view"), ())


@pytest.mark.parametrize(
    ("variant", "message"),
    [("streaming", "contradicts.*offline or ref_view"), ("online", "unknown variant 'online'")],
)
def test_impossible_variant(variant: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        identify(expected_shapes(preset("tiny")), variant=variant)


def test_other_checkpoints_are_recognised() -> None:
    with pytest.raises(ValueError, match=r"no ZipMap checkpoint: it holds conv1\.weight"):
        identify({"conv1.weight": (64, 3, 7, 7)})
    with pytest.raises(ValueError, match="VGGT checkpoint"):
        identify({"aggregator.global_blocks.0.attn.qkv.weight": (3, 1)})
    with pytest.raises(ValueError, match="it holds nothing"):
        identify({})


@pytest.mark.parametrize(
    "name",
    [
        "depth_head.norm.bias",
        "aggregator.global_blocks.0.ttt_block.w0",
        "aggregator.patch_embed.pos_embed",
        "aggregator.frame_blocks.3.ls1.gamma",
    ],
)
def test_one_missing_tensor_is_named(name: str) -> None:
    shapes = expected_shapes(preset("tiny"))
    del shapes[name]
    state = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        from_torch(state, identify(shapes, variant="offline")[0])


def test_a_key_tensor_of_the_wrong_rank_is_named() -> None:
    shapes = expected_shapes(preset("tiny"))
    shapes["depth_head.scratch.layer1_rn.weight"] = (3,)
    with pytest.raises(ValueError, match=r"layer1_rn\.weight must have 4 axes"):
        identify(shapes)
