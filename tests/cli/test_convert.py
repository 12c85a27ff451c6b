"""`zipmap convert`: to a folder, back to a file, and errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from zipmap_jax.cli.convert import Convert
from zipmap_jax.cli.main import main
from zipmap_jax.convert.identify import expected_shapes
from zipmap_jax.convert.torch_file import read_torch
from zipmap_jax.models.presets import preset

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of `tiny` in the reference's layout."""
    rng = np.random.default_rng(0)
    shapes = expected_shapes(preset("tiny"))
    state = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_file(state, path)
    return path


def test_round_trip(checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    folder, back = tmp_path / "converted", tmp_path / "back.pt"
    assert main(["convert", str(checkpoint), "-o", str(folder), "--variant", "offline"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)
    assert main(["convert", str(folder), "-o", str(back), "--to", "torch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == str(back)
    state, expected = read_torch(back), load_file(checkpoint)
    assert state.keys() == expected.keys()
    assert all(np.array_equal(state[name], expected[name]) for name in expected)
    assert main(["convert", str(checkpoint), "-o", str(folder), "--variant", "offline"]) == 2
    assert str(folder) in capsys.readouterr().err


def test_missing_tensor_is_named(checkpoint: Path, tmp_path: Path, capsys: Capture) -> None:
    state = load_file(checkpoint)
    name = sorted(state)[len(state) // 2]
    del state[name]
    broken = tmp_path / "broken.safetensors"
    save_file(state, broken)
    assert main(["convert", str(broken), "-o", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert "broken.safetensors" in err
    assert name in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + b"\0" * 18])
def test_an_invalid_file_is_an_error(content: bytes, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(content)
    assert main(["convert", str(file), "-o", str(tmp_path / "out")]) == 2
    assert "model.pt" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "nowhere.pt"), "-o", str(tmp_path / "out")]) == 2
    assert "nowhere.pt" in capsys.readouterr().err


def test_every_option_reaches_the_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new option that is not passed on keeps its default, and fails here."""
    seen: dict[str, object] = {}

    def convert(checkpoint: Path, out: Path, **options: object) -> str:
        seen.update(options, checkpoint=checkpoint, out=out)
        return "report"

    monkeypatch.setattr("zipmap_jax.convert.command.convert_command", convert)
    argv = "convert a.pt -o b --to torch --variant ref_view --ema --lpips vgg.pth --share-with tiny"
    assert main([*argv.split(), "--dtype", "bfloat16", "--force"]) == 0
    assert seen == dict(
        checkpoint=Path("a.pt"),
        out=Path("b"),
        to="torch",
        variant="ref_view",
        ema=True,
        lpips=Path("vgg.pth"),
        share_with="tiny",
        dtype="bfloat16",
        force=True,
    )
    options = {field.name for field in dataclasses.fields(Convert)} - {"json"}
    assert seen.keys() == options
