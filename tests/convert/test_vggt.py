from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.convert.identify import expected_shapes, from_torch, to_torch
from zipmap_jax.convert.vggt import from_vggt, plan
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.presets import preset

FRESH = ("w0", "w1", "w2", "lr_fc", "gate_fn", "o_norm")


def vggt_shapes(config: ZipMapConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a VGGT of that size, built from those of ZipMap."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in expected_shapes(config).items():
        if ".ttt_block." in name:
            if any(f".ttt_block.{part}" in name for part in FRESH):
                continue
            name = name.replace("ttt_block.to_qkv", "attn.qkv")
            name = name.replace("ttt_block.c_proj", "attn.proj")
        if not name.startswith("local_point_head."):
            shapes[name] = shape
    for i in range(config.depth):
        for norm in ("q_norm.weight", "q_norm.bias", "k_norm.weight", "k_norm.bias"):
            shapes[f"aggregator.global_blocks.{i}.attn.{norm}"] = (config.width // config.heads,)
    shapes["point_head.norm.weight"] = shapes["track_head.tracker.query_ref_token"] = (3,)
    return shapes


@pytest.fixture(scope="module")
def small() -> ZipMapConfig:
    return preset("tiny", "offline")


@pytest.fixture(scope="module")
def vggt(small: ZipMapConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal(s, np.float32) for n, s in vggt_shapes(small).items()}


def zeros(config: ZipMapConfig) -> dict[str, np.ndarray]:
    return {n: np.zeros(shape, np.float32) for n, shape in expected_shapes(config).items()}


def test_counts_at_full_size() -> None:
    config = preset("large", "offline")
    report = plan(vggt_shapes(config), config)
    assert len(report.loaded) + len(report.mapped) == 1245
    assert len(report.mapped) == 4 * 24
    assert len(report.fresh) == 254
    assert len([n for n in report.fresh if n.startswith("local_point_head.")]) == 62
    assert len(report.ignored) == 4 * 24 + 2
    assert "96 loaded under a new name" in str(report)
    assert "aggregator.global_blocks.{0-23}.ttt_block.to_qkv.weight" in str(report)


def test_every_tensor_has_its_place(small: ZipMapConfig, vggt: dict[str, np.ndarray]) -> None:
    params, report = from_vggt(vggt, small, from_torch(zeros(small), small))
    got = to_torch(params, small)
    for name in report.loaded:
        np.testing.assert_array_equal(got[name], vggt[name])
    for name, vggt_name in report.mapped.items():
        np.testing.assert_array_equal(got[name], vggt[vggt_name])
    for name in report.fresh:
        assert not got[name].any()
    block = "aggregator.global_blocks.3"
    assert report.mapped[f"{block}.ttt_block.c_proj.bias"] == f"{block}.attn.proj.bias"
    assert {*report.loaded, *report.mapped, *report.fresh} == got.keys()


def test_other_variants_start_more_afresh(vggt: dict[str, np.ndarray]) -> None:
    streaming = plan(vggt, preset("tiny", "streaming"))
    assert "camera_mlp_head.mlp.fc1.weight" in streaming.fresh
    assert "camera_head.empty_pose_tokens" in streaming.ignored
    query = plan(vggt, preset("tiny", "state_query"))
    assert {"aggregator.ray_cond_token", "nvs_head.norm.bias"} <= set(query.fresh)


def test_incomplete_and_foreign_files(small: ZipMapConfig, vggt: dict[str, np.ndarray]) -> None:
    broken = dict(vggt)
    del broken["depth_head.norm.bias"], broken["aggregator.global_blocks.2.attn.qkv.bias"]
    broken["surprise"] = np.zeros(1)
    with pytest.raises(
        ValueError, match=r"ttt_block\.to_qkv\.bias.*depth_head\.norm\.bias.*unknown \(surprise\)"
    ):
        plan(broken, small)


def test_vggt_of_another_size(small: ZipMapConfig, vggt: dict[str, np.ndarray]) -> None:
    other = vggt | {"aggregator.camera_token": np.zeros((1, 2, 1, 5), np.float32)}
    with pytest.raises(ValueError, match=f"camera_token is 1x2x1x5 instead of 1x2x1x{small.width}"):
        from_vggt(other, small, from_torch(zeros(small), small))
