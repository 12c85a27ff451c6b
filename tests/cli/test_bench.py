"""`zipmap bench loader`: numbers, exit codes, configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.data.posed import break_frame, write_scene
from zipmap_jax.cli.main import main

SHAPE = ["--views", "2", "--height", "14", "--width", "28", "--batch", "3", "--batches", "4"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_scene(tmp_path / "data" / "scene", 1, 8)
    break_frame(tmp_path / "data" / "scene", 2)
    return tmp_path / "data"


def test_loader_speed_and_exit_code(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", "loader", "--source", "posed_folder", "--root", str(recording), *SHAPE]
    assert main([*argv, "--json", "--images-per-second", "1e12"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["images"] == 4 * 3 * 2
    assert facts["workers"] == 1
    assert facts["starves"] is True
    assert facts["failures"]["posed_folder"] > 0
    assert main([*argv, "--images-per-second", "1e-6"]) == 0
    out = capsys.readouterr().out
    assert "images/s" in out
    assert "posed_folder: " in out
    assert "enough for a device of 1e-06 images/s" in out


CONFIG = """
from zipmap_jax.data.config import BatchShape, DataConfig, SourceConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config.schema import TrainConfig

def get_config():
    source = SourceConfig("posed_folder", root={root!r})
    shapes = (BatchShape(3, 14, 14, batch=2),)
    data = DataConfig(shapes, microbatches=2, mixture=(source,), threads=1)
    return TrainConfig("x", preset("tiny", "offline"), data, steps={steps})
"""


def test_a_configuration_is_measured(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.py"
    file.write_text(CONFIG.format(root=str(recording), steps=10))
    argv = ["bench", "loader", "--config", str(file), "--json"]
    assert main([*argv, "--batches", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2 * 2 * 2 * 3
    assert main([*argv, "--batches", "20"]) == 2
    assert "ask for fewer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--config", "missing.py"], "no configuration missing.py"),
        (["--source", "scanet"], "there is no data set 'scanet'"),
        (["--batches", "0"], "must be positive"),
        (["--config", "configs/tiny_procedural.py"], "name data sets in data.mixture"),
    ],
)
def test_errors_are_one_sentence(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "loader", *argv]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
