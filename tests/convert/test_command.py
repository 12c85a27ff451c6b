from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from zipmap_jax.convert.checkpoint import CARD, WEIGHTS, read
from zipmap_jax.convert.command import convert_command
from zipmap_jax.convert.identify import expected_shapes
from zipmap_jax.convert.rules import flatten
from zipmap_jax.convert.torch_file import read_torch
from zipmap_jax.convert.torch_state import read_state
from zipmap_jax.convert.torch_writer import write_torch
from zipmap_jax.models.presets import preset


@pytest.fixture
def source(tmp_path: Path, state: dict[str, np.ndarray]) -> Path:
    write_torch(tmp_path / "checkpoint_online.pt", state)
    return tmp_path / "checkpoint_online.pt"


def test_there_and_back_is_bit_exact(
    tmp_path: Path, source: Path, state: dict[str, np.ndarray], params: dict[str, Any]
) -> None:
    report = convert_command(source, tmp_path / "out")
    assert f"custom streaming, {len(state)} tensors" in report
    got, expected = flatten(read(tmp_path / "out")[0]), flatten(params)
    assert all(got[name].tobytes() == expected[name].tobytes() for name in expected)
    convert_command(tmp_path / "out", tmp_path / "new" / "back.pt", to="torch")
    back = read_torch(tmp_path / "new" / "back.pt")
    assert back.keys() == state.keys()
    assert all(back[name].tobytes() == state[name].tobytes() for name in state)


def test_card(tmp_path: Path, source: Path) -> None:
    report = convert_command(source, tmp_path / "out")
    card = json.loads((tmp_path / "out" / CARD).read_text())
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert card["source"] == {"file": source.name, "sha256": digest, "weights": "model"}
    assert digest in report
    assert "CC BY-NC 4.0" in card["licence"]
    assert card["notes"]
    assert all(f"note: {note}" in report for note in card["notes"])


def test_bfloat16_both_ways(tmp_path: Path, source: Path, state: dict[str, np.ndarray]) -> None:
    convert_command(source, tmp_path / "out", dtype="bfloat16")
    convert_command(tmp_path / "out", tmp_path / "x.pt", to="torch")
    back = read_torch(tmp_path / "x.pt")
    for name, array in state.items():
        rounded = array.astype(ml_dtypes.bfloat16).astype(np.float32)
        np.testing.assert_array_equal(back[name], rounded)
        assert back[name].dtype == np.float32
    convert_command(tmp_path / "out", tmp_path / "x.pt", to="torch", dtype="bfloat16", force=True)
    assert {a.dtype for a in read_torch(tmp_path / "x.pt").values()} == {
        np.dtype(ml_dtypes.bfloat16)
    }


def test_safetensors_with_the_names_of_the_reference(
    tmp_path: Path, state: dict[str, np.ndarray]
) -> None:
    safetensors.numpy.save_file(state, tmp_path / "x.safetensors")
    convert_command(tmp_path / "x.safetensors", tmp_path / "out")
    assert read(tmp_path / "out")[1]["variant"] == "streaming"
    with pytest.raises(ValueError, match="already converted: pass the folder"):
        convert_command(tmp_path / "out" / WEIGHTS, tmp_path / "again")
    with pytest.raises(ValueError, match="leave ema out"):
        convert_command(tmp_path / "x.safetensors", tmp_path / "again", ema=True)


def test_variant_is_required_if_tensors_do_not_determine_it(tmp_path: Path) -> None:
    shapes = expected_shapes(preset("tiny"))
    zeros = {n: np.zeros(shape, np.float32) for n, shape in shapes.items()}
    write_torch(tmp_path / "mine.pt", zeros)
    assert "note: assumed variant offline" in convert_command(tmp_path / "mine.pt", tmp_path / "a")
    report = convert_command(tmp_path / "mine.pt", tmp_path / "b", variant="ref_view")
    assert "tiny ref_view" in report
    assert "note:" not in report
    write_torch(tmp_path / "checkpoint_with_ref_view.pt", zeros)
    report = convert_command(tmp_path / "checkpoint_with_ref_view.pt", tmp_path / "c")
    assert "tiny ref_view" in report


def test_outputs_are_not_overwritten(tmp_path: Path, source: Path) -> None:
    convert_command(source, tmp_path / "out")
    with pytest.raises(ValueError, match="already holds"):
        convert_command(source, tmp_path / "out")
    convert_command(source, tmp_path / "out", force=True)
    with pytest.raises(ValueError, match=r"exists: choose another output"):
        convert_command(tmp_path / "out", source, to="torch")
    with pytest.raises(ValueError, match=r"name the \.pt file"):
        convert_command(tmp_path / "out", tmp_path, to="torch")


def test_one_missing_tensor_is_named_with_its_file(
    tmp_path: Path, state: dict[str, np.ndarray]
) -> None:
    rest = {name: array for name, array in state.items() if name != "depth_head.norm.bias"}
    write_torch(tmp_path / "x.pt", rest)
    with pytest.raises(ValueError, match=r"x\.pt: .*1 missing \(depth_head\.norm\.bias\)"):
        convert_command(tmp_path / "x.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "offline"}, "contradicts"),
        ({"variant": "best"}, "unknown variant"),
        ({"dtype": "int8"}, "unknown dtype"),
        ({"to": "onnx"}, "unknown target"),
        ({"ema": True}, "no entry 'ema'"),
        ({"to": "torch", "ema": True}, "leave them out"),
        ({"to": "torch"}, r"has no card\.json"),
    ],
)
def test_bad_arguments(
    tmp_path: Path, source: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        convert_command(source, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder: pass"):
        convert_command(tmp_path, tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        convert_command(tmp_path / "none.pt", tmp_path / "out")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_prefixes_of_wrapped_modules_are_removed(
    tmp_path: Path, state: dict[str, np.ndarray], prefix: str, suffix: str
) -> None:
    named = {prefix + name: array for name, array in state.items()}
    path = tmp_path / f"wrapped{suffix}"
    if suffix == ".pt":
        write_torch(path, named)
    else:
        safetensors.numpy.save_file(named, path)
    with pytest.warns(UserWarning, match=f"the prefix {prefix} of all names is removed"):
        read = read_state(path)
    assert read.keys() == state.keys()
    one = dict(named) | {"other.weight": np.zeros(1, np.float32)}
    write_torch(tmp_path / "mixed.pt", one)
    assert list(read_state(tmp_path / "mixed.pt")) == list(one)
