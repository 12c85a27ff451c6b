"""Dataclasses from JSON, and the messages for invalid values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zipmap_jax.config_io import decode, from_json, to_json
from zipmap_jax.data.config import BatchShape, CropConfig
from zipmap_jax.train.config.schema import OptimConfig, TrainConfig
from zipmap_jax.train.config.stages import STAGES, stage


@pytest.mark.parametrize("name", STAGES)
def test_configurations_survive_json(name: str) -> None:
    assert from_json(TrainConfig, json.loads(json.dumps(to_json(stage(name))))) == stage(name)


def test_absent_fields_keep_their_defaults() -> None:
    assert from_json(BatchShape, {"views": 3, "height": 42, "width": 56}) == BatchShape(3, 42, 56)
    assert from_json(CropConfig, {"scales": None}) == CropConfig(scales=None)
    assert from_json(OptimConfig, {"lr": 1, "muon": ["a"]}) == OptimConfig(lr=1.0, muon=("a",))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"lr": 1.0, "momentum": 0.9}, "OptimConfig has no field momentum, the nearest one is"),
        ({"lr_group": []}, "the nearest one is lr_groups: correct the name"),
        ({"lr": "fast"}, "OptimConfig.lr must be float, got 'fast': correct the value"),
        ({"lr": True}, "OptimConfig.lr must be float, got True"),
        ({"muon": "a"}, "OptimConfig.muon must be tuple[str, ...], got 'a'"),
        ({"lr_groups": [["a", 1], ["b"]]}, "lr_groups.1 must be tuple[str, float], got ['b']"),
        ({"clip_by": "layer"}, "OptimConfig.clip_by must be Literal['module', 'global']"),
        (3, "OptimConfig must be a table of values, got 3"),
    ],
)
def test_mistakes_name_the_key(data: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        from_json(OptimConfig, data)
    assert sentence in str(caught.value)


def test_missing_keys_are_named() -> None:
    with pytest.raises(ValueError, match="bucket lacks height, width: every BatchShape needs it"):
        from_json(BatchShape, {"views": 2}, "bucket")


def test_optional_values() -> None:
    assert decode(float | None, None, "x") is None
    with pytest.raises(ValueError, match=r"x must be float \| None, got 'none'"):
        decode(float | None, "none", "x")
