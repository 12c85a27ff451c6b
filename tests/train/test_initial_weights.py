"""Initial parameters of new runs."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.models.conftest import MICRO, micro, random_params
from zipmap_jax.convert.checkpoint import make_card, save
from zipmap_jax.convert.identify import to_torch
from zipmap_jax.convert.rules import flatten
from zipmap_jax.data.config import BatchShape, DataConfig
from zipmap_jax.errors import UserError
from zipmap_jax.models.config import Mixer, Variant
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train.checkpoint import Checkpoints
from zipmap_jax.train.config.schema import StartConfig, TrainConfig
from zipmap_jax.train.initial_weights import (
    copies,
    match_weights,
    open_start,
    random_parameters,
    sine_positions,
)
from zipmap_jax.train.resume import begin
from zipmap_jax.train.sharding import make_mesh
from zipmap_jax.train.state import initial_state


def test_neighbouring_positions_are_alike() -> None:
    table = sine_positions(8, 32)
    assert table.shape == (1, 65, 32)
    assert not table[0, 0].any()
    grid = table[0, 1:].reshape(8, 8, 32)
    # Columns fill the first half of the channels, rows the second.
    np.testing.assert_array_equal(grid[0, :, :16], grid[5, :, :16])
    np.testing.assert_array_equal(grid[:, 0, 16:], grid[:, 5, 16:])
    distance = np.linalg.norm(grid[3, 3] - grid[3], axis=-1)
    assert distance[3] == 0
    assert np.all(distance[[2, 4]] < 0.7 * distance[[0, 7]])
    assert len(np.unique(grid.reshape(64, 32).round(5), axis=0)) == 64


@functools.cache
def drawn(mixer: Mixer) -> tuple[Any, Any]:
    """Published and trainable initialisation from one program."""
    model = ZipMap(dataclasses.replace(MICRO, mixer=mixer))
    init = jax.jit(lambda key: [random_parameters(model, key, scale) for scale in (None, 0.02)])
    published, scratch = init(jax.random.key(0))
    return published, scratch


def test_tokens_for_training_from_scratch() -> None:
    published, scratch = drawn("fast_weights")
    assert np.abs(published["camera_token"]).max() < 1e-4
    assert 0.01 < np.std(scratch["camera_token"]) < 0.03
    # Everything else is as the model draws it.
    np.testing.assert_array_equal(
        scratch["frame_blocks"]["mlp"]["fc1"]["kernel"],
        published["frame_blocks"]["mlp"]["fc1"]["kernel"],
    )


@pytest.mark.parametrize(
    ("mixer", "path"),
    [
        ("fast_weights", "ttt/to_qkv"),
        pytest.param("attention", "attn/qkv", marks=pytest.mark.slow),
    ],
)
def test_queries_start_as_keys(mixer: Mixer, path: str) -> None:
    kernels = [flatten(params)[f"global_blocks/{path}/kernel"] for params in drawn(mixer)]
    published, scratch = (np.split(kernel, 3, axis=-1) for kernel in kernels)
    assert np.abs(published[0] - published[1]).max() > 0.01
    np.testing.assert_array_equal(scratch[0], scratch[1])
    np.testing.assert_array_equal(scratch[1:], published[1:])


@functools.cache
def fresh(variant: Variant, seed: int = 0) -> tuple[ZipMap, Any]:
    model = ZipMap(micro(variant))
    params = jax.device_get(random_params(model.config))
    return model, jax.tree.map(lambda leaf: leaf + np.float32(seed), params)


def test_a_streaming_model_starts_from_an_offline_one(tmp_path: Path) -> None:
    offline, weights = fresh("offline", 1)
    save(tmp_path / "offline", weights, make_card(offline.config))
    model, params = fresh("streaming")
    start = StartConfig("weights", str(tmp_path / "offline"))
    merged, report = open_start(model, start, params)(params)
    for name in ("frame_blocks", "global_blocks", "depth_head"):
        jax.tree.map(np.testing.assert_array_equal, merged[name], weights[name])
    head = merged["camera_mlp_head"]
    jax.tree.map(np.testing.assert_array_equal, head, params["camera_mlp_head"])
    assert "freshly initialised: camera_mlp_head/" in report
    assert "ignored: camera_head/" in report


def test_a_run_starts_from_an_earlier_run(tmp_path: Path) -> None:
    model, weights = fresh("offline", 1)
    config = TrainConfig("run", model.config, DataConfig(buckets=(BatchShape(2, 14, 14),)))
    state = initial_state(weights, config.optim)
    halved = jax.tree.map(lambda x: x / 2, weights)
    with Checkpoints(tmp_path / "checkpoints", keep=1) as checkpoints:
        checkpoints.save(dataclasses.replace(state, step=state.step + 3, ema=halved), config)
    fresh_params = fresh("offline")[1]
    for which, expected in (("params", weights), ("ema", halved)):
        start = StartConfig("weights", str(tmp_path), which)
        merged, _ = open_start(model, start, fresh_params)(fresh_params)
        jax.tree.map(np.testing.assert_array_equal, merged, expected)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    weights = flatten(fresh("offline", 1)[1]) | {"camera_token": np.zeros((1, 2, 1, 8), np.float32)}
    with pytest.raises(ValueError, match=r"camera_token of shape \(1, 2, 1, 8\)"):
        match_weights(weights, flatten(fresh("offline")[1]), "file")
    with pytest.raises(ValueError, match="holds no tensor of this model"):
        match_weights({"other": np.zeros(3)}, flatten(fresh("offline")[1]), "file")


@pytest.mark.parametrize("kind", ["vggt", "weights"])
def test_unreadable_weights_are_refused_before_anything_is_compiled(
    tmp_path: Path, kind: Literal["vggt", "weights"], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "junk.pt").write_bytes(b"junk")
    model = fresh("ref_view")[0].config
    config = TrainConfig(
        "run",
        model,
        DataConfig(buckets=(BatchShape(2, 14, 14),)),
        start=StartConfig(kind, str(tmp_path / "junk.pt")),
    )
    monkeypatch.setattr(jax, "jit", pytest.fail)
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    with (
        Checkpoints(tmp_path / "checkpoints", keep=1) as checkpoints,
        pytest.raises(UserError, match=r"junk\.pt"),
    ):
        begin(config, checkpoints, mesh)


def test_vggt_leaves_the_new_parts_fresh(tmp_path: Path) -> None:
    model, params = fresh("ref_view")
    state = to_torch(fresh("ref_view", 1)[1], model.config)
    theirs = {
        name.replace("ttt_block.to_qkv", "attn.qkv").replace("ttt_block.c_proj", "attn.proj"): value
        for name, value in state.items()
        if "local_point_head" not in name and not re.search(r"ttt_block\.(w|lr|gate|o_norm)", name)
    }
    contiguous = {name: np.ascontiguousarray(value) for name, value in theirs.items()}
    save_file(contiguous, tmp_path / "vggt.safetensors")
    start = StartConfig("vggt", str(tmp_path / "vggt.safetensors"))
    merged, report = open_start(model, start, params)(params)
    wanted = fresh("ref_view", 1)[1]["global_blocks"]["ttt"]["to_qkv"]["kernel"]
    np.testing.assert_array_equal(merged["global_blocks"]["ttt"]["to_qkv"]["kernel"], wanted)
    kept = params["local_point_head"]
    jax.tree.map(np.testing.assert_array_equal, merged["local_point_head"], kept)
    assert "loaded under a new name" in report


def test_modules_that_are_missing_start_from_others() -> None:
    shapes = {"old/a": (2, 3), "old/b": (4,), "old/c": (5,), "new/a": (2, 3), "new/b": (6,)}
    leaves = {name: np.full(shape, i) for i, (name, shape) in enumerate(shapes.items())}
    saved = {name: leaf for name, leaf in leaves.items() if name.startswith("old/")}
    fresh = leaves | {"new/d": np.zeros(1), "newer/a": np.zeros((2, 3))}
    copied = copies(saved, fresh, (("new", "old"),))
    assert copied.keys() == {"new/a"}
    np.testing.assert_array_equal(copied["new/a"], saved["old/a"])
    assert copies(saved, fresh, ()) == {}
    for pair in (("new", "none"), ("old", "old"), ("none", "old")):
        with pytest.raises(ValueError, match=rf"start\.like copies {pair[1]} to {pair[0]}, but"):
            copies(saved, fresh, (pair,))
