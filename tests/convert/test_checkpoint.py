from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from zipmap_jax.config_io import from_json, to_json
from zipmap_jax.convert.checkpoint import CARD, WEIGHTS, make_card, read, save
from zipmap_jax.convert.rules import flatten
from zipmap_jax.convert.safetensors_file import read_safetensors, write_safetensors
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.presets import SIZES, VARIANTS, preset


@pytest.fixture
def folder(tmp_path: Path, params: dict[str, Any], config: ZipMapConfig) -> Path:
    save(tmp_path / "model", params, make_card(config, licence="mine", notes=["a note"]))
    return tmp_path / "model"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_config_through_json(size: str, variant: Any) -> None:
    config = preset(size, variant)
    again = from_json(ZipMapConfig, json.loads(json.dumps(to_json(config))))
    assert again == config
    assert hash(again) == hash(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 3}, "config has no field colour, the nearest one is"),
        ({"head": 3}, "config has no field head, the nearest one is heads"),
        ({"camera": {"depth": 1, "lens": 2}}, r"config\.camera has no field lens"),
        ({"embedder": 3}, r"config\.embedder must be a table of values, got 3"),
        ({"heads": "six"}, r"config\.heads must be int, got 'six'"),
        ({"heads": True}, r"config\.heads must be int, got True"),
        ({"taps": [1, 2]}, r"config\.taps must be tuple\[int, int, int, int\], got \[1, 2\]"),
        ({"mixer": "none"}, r"config\.mixer must be Literal"),
        ({"heads": 0}, "the model has heads=0: it must be at least 1"),
        ({"heads": 7}, "head dimension"),
    ],
)
def test_bad_config(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(ZipMapConfig, to_json(preset("tiny")) | change, "config")


def test_round_trip(folder: Path, params: dict[str, Any], config: ZipMapConfig) -> None:
    got, card = read(folder)
    flat, expected = flatten(got), flatten(params)
    assert flat.keys() == expected.keys()
    assert all(flat[name].tobytes() == expected[name].tobytes() for name in expected)
    assert from_json(ZipMapConfig, card["config"]) == config
    assert (card["variant"], card["licence"], card["notes"]) == ("streaming", "mine", ["a note"])
    assert card["created_by"].startswith("zipmap-jax")
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]


def test_unknown_formats_are_refused_before_anything_is_written(
    tmp_path: Path, params: dict[str, Any], config: ZipMapConfig
) -> None:
    with pytest.raises(ValueError, match="'float16': choose float32 or bfloat16"):
        save(tmp_path / "x", params, make_card(config, dtype="float16"))
    assert not (tmp_path / "x").exists()


def test_bfloat16_on_disk_is_fp32_in_memory(
    tmp_path: Path, params: dict[str, Any], config: ZipMapConfig
) -> None:
    save(tmp_path / "x", params, make_card(config, dtype="bfloat16"))
    stored = read_safetensors(tmp_path / "x" / WEIGHTS)
    assert {array.dtype for array in stored.values()} == {np.dtype(ml_dtypes.bfloat16)}
    got = flatten(read(tmp_path / "x")[0])
    for name, leaf in flatten(params).items():
        assert got[name].dtype == np.float32
        np.testing.assert_array_equal(got[name], leaf.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_overwriting_needs_force(
    folder: Path, params: dict[str, Any], config: ZipMapConfig
) -> None:
    (folder / "notes.txt").write_text("precious")
    with pytest.raises(ValueError, match=r"already holds model\.safetensors and card\.json.*force"):
        save(folder, params, make_card(config))
    save(folder, params, make_card(config, licence="new"), force=True)
    assert read(folder)[1]["licence"] == "new"
    assert (folder / "notes.txt").read_text() == "precious"


def test_output_that_is_a_file(
    tmp_path: Path, params: dict[str, Any], config: ZipMapConfig
) -> None:
    (tmp_path / "x").write_text("precious")
    with pytest.raises(ValueError, match="is a file"):
        save(tmp_path / "x", params, make_card(config), force=True)


def test_parameters_of_another_model(tmp_path: Path, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"missing.*camera_head/trunk.*wrongly shaped"):
        save(tmp_path / "x", params, make_card(preset("tiny")))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"has no {name}.*convert or download"):
        read(folder)


def drop_a_tensor(folder: Path) -> None:
    arrays = dict(read_safetensors(folder / WEIGHTS))
    del arrays["frame_blocks/attn/qkv/bias"]
    shapes = {name: array.shape for name, array in arrays.items()}
    write_safetensors(folder / WEIGHTS, shapes, arrays.items(), np.dtype(np.float32))


def edit_card(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        card = json.loads((folder / CARD).read_text())
        (folder / CARD).write_text(json.dumps(card | changes))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_a_tensor, r"model\.safetensors.*1 missing \(frame_blocks/attn/qkv/bias\)"),
        (lambda f: (f / WEIGHTS).write_bytes(b"x" * 99), r"model\.safetensors is no safetensors"),
        (lambda f: (f / CARD).write_text("{"), r"card\.json is damaged"),
        (lambda f: (f / CARD).write_bytes(b"\xff\xfe"), r"card\.json is damaged"),
        (lambda f: (f / CARD).write_text("[]"), r"card\.json has no entry config"),
        (edit_card(format=99), r"card\.json has format 99.*update"),
        (edit_card(notes=None), r"card\.json has notes None"),
        (edit_card(size="x"), r"card\.json has .* size 'x'"),
        (edit_card(config=to_json(preset("tiny"))), "wrongly shaped"),
    ],
    ids=["tensor", "weights", "json", "bytes", "list", "format", "notes", "size", "other model"],
)
def test_damage_is_named(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=message):
        read(folder)
