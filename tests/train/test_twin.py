"""`configs/tiny_twin.py`: differences from tiny_procedural, and storage of its weights."""

from __future__ import annotations

import dataclasses
import fnmatch
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import zipmap_jax
from tests.models.conftest import MICRO, random_params
from zipmap_jax.convert.checkpoint import make_card, save
from zipmap_jax.convert.command import convert_command
from zipmap_jax.convert.identify import expected_shapes
from zipmap_jax.convert.rules import flatten
from zipmap_jax.convert.vggt import plan as vggt_plan
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train.config.digest import differences
from zipmap_jax.train.config.registry import load
from zipmap_jax.train.optimizer import decay_mask, peak_rates, update_rule

TWIN = dataclasses.replace(MICRO, mixer="attention")


def shapes(config: Any) -> Any:
    return jax.eval_shape(ZipMap(config.model).init, jax.random.key(0))


def count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_only_the_model_differs() -> None:
    changed = differences(load("tiny_procedural"), load("tiny_twin"))
    fields = {line.split()[0] for line in changed}
    assert {name for name in fields if not name.startswith("optim.")} == {
        "model.preset",
        "model.mixer",
        "model.mlp_ratio",
    }
    assert all(name.startswith(("model.", "optim.muon.", "optim.lr_groups.")) for name in fields)


def test_parameters_are_as_many_within_two_percent() -> None:
    ours, twin = shapes(load("tiny_procedural")), shapes(load("tiny_twin"))
    assert count(ours) == 4_200_051
    assert count(twin) == 4_265_575
    assert count(twin) / count(ours) == pytest.approx(1, abs=0.02)
    # The embedder and the heads are the same.
    same = ours.keys() - {"frame_blocks", "global_blocks"}
    assert {name: count(ours[name]) for name in same} == {name: count(twin[name]) for name in same}


def test_every_pattern_of_the_optimiser_matches_and_every_matrix_is_matched() -> None:
    config = load("tiny_twin")
    params = flatten(shapes(config))
    for pattern in config.optim.muon:
        assert fnmatch.filter(params, pattern), pattern
    assert config.optim.muon == tuple(pattern for pattern, _ in config.optim.lr_groups)
    rates = flatten(peak_rates(shapes(config), config.optim))
    decays = flatten(decay_mask(shapes(config)))
    matrices = {
        name for name in params if name.startswith("global_blocks/") and name.endswith("/kernel")
    }
    assert matrices == {
        f"global_blocks/{part}/kernel" for part in ("attn/qkv", "attn/proj", "mlp/fc1", "mlp/fc2")
    }
    for name in params:
        if name.startswith("global_blocks/"):
            assert rates[name] == (2e-3 if name in matrices else 1e-3), name
            assert decays[name] == (name in matrices), name
    jax.eval_shape(update_rule(config.optim).init, shapes(config))


def test_saved_and_loaded(tmp_path: Path) -> None:
    params = random_params(TWIN)
    save(tmp_path / "twin", params, make_card(TWIN, licence="Apache-2.0"))
    loaded = zipmap_jax.load(tmp_path / "twin")
    assert loaded.model.config == TWIN
    kept = flatten(params)
    for name, leaf in flatten(loaded.params).items():
        np.testing.assert_array_equal(leaf, kept.pop(name))
    assert not kept
    images = np.random.default_rng(5).integers(0, 255, (3, 28, 42, 3), np.uint8)
    assert len(zipmap_jax.reconstruct(loaded, images)) == 3
    with pytest.raises(ValueError, match=r"mixes views by attention.*use the folder as it is"):
        convert_command(tmp_path / "twin", tmp_path / "twin.pt", to="torch")
    assert not (tmp_path / "twin.pt").exists()


def test_vggt_gives_all_of_its_global_blocks() -> None:
    config = dataclasses.replace(preset("large"), mixer="attention")
    names = {n: s for n, s in expected_shapes(config).items() if "local_point_head" not in n}
    report = vggt_plan(names | {"point_head.norm.weight": (3,)}, config)
    assert sum("global_blocks" in name for name in report.loaded) == 18 * 24
    assert report.ignored == ("point_head.norm.weight",)
    assert not report.mapped
    assert all(name.startswith("local_point_head.") for name in report.fresh)
