"""`zipmap export-program`: options, output and errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from zipmap_jax.cli import export_program as verb
from zipmap_jax.cli.main import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Record the calls of loading and exporting, which have their own tests."""
    pytest.importorskip("flatbuffers")
    calls: list[tuple] = []

    def load_model(name: str, precision: str) -> str:
        calls.append((name, precision))
        return name

    def export(loaded: str, path: Path, **options: object) -> tuple[dict, Path]:
        calls.append((options,))
        path.write_bytes(b"program")
        weights = path.with_name("weights.safetensors")
        weights.write_bytes(b"weights")
        return {"outputs": {"depth": "..."}}, weights

    monkeypatch.setattr(verb, "load_model", load_model)
    monkeypatch.setattr("zipmap_jax.inference.export_program.export_program", export)
    return calls


def test_options_reach_the_export(exporting: list, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "p"
    argv = ["export-program", "--views", "8", "--size", "392x518", "-o", str(out)]
    assert main(argv) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == str(out)
    assert "inputs: up to 8 uint8 images of 392x518" in shown
    assert exporting[0] == ("tiny", "fp32")
    (options,) = exporting[1]
    assert (options["views"], options["size"]) == (8, (392, 518))
    assert options["platforms"] == ["cpu", "cuda"]
    assert main(argv) == 2
    assert "exists: choose another name, or replace it with --force" in capsys.readouterr().err
    assert main([*argv, "--force", "--platforms", "cuda", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == str(out)
    assert exporting[2] == ("tiny", "bf16"), "accelerators compute in bf16"


@pytest.mark.usefixtures("exporting")
def test_errors(tmp_path: Path, capsys: Capture) -> None:
    base = ["export-program", "--views", "8", "-o"]
    assert main([*base, str(tmp_path / "p"), "--size", "518"]) == 2
    assert "--size takes HEIGHTxWIDTH such as 392x518, got '518'" in capsys.readouterr().err
    assert main([*base, str(tmp_path), "--size", "392x518"]) == 2
    assert "is a folder: name a file in it" in capsys.readouterr().err


def test_without_flatbuffers(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    argv = ["export-program", "--views", "8", "--size", "392x518", "-o", str(tmp_path / "p")]
    assert main(argv) == 2
    assert "pip install 'zipmap-jax[export]'" in capsys.readouterr().err
