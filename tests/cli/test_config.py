"""`zipmap config`: names, values, changes, errors."""

from __future__ import annotations

import json

import pytest

from zipmap_jax.cli.config import split_overrides
from zipmap_jax.cli.main import main
from zipmap_jax.config_io import from_json
from zipmap_jax.train.config import registry as named
from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import STAGES, stage

TINY = ("tiny_procedural", "tiny_query", "tiny_streaming", "tiny_twin")


def output(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["config", *args]) == 0
    return capsys.readouterr().out


def mistake(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["config", *args]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    return err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "list").splitlines()
    assert [line.split()[0] for line in lines] == [*STAGES, *TINY]
    assert all(len(line.split()) > 3 for line in lines)
    assert list(json.loads(output(capsys, "list", "--json"))) == [
        *STAGES,
        *TINY,
    ]


def test_show_prints_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "show", "stage1_static", "--optim.lr", "3e-4")
    assert "\noptim.lr = 0.0003\n" in text
    assert "\nsteps = 80000\n" in text
    assert '\ndata.mixture.scannet = {"name": "scannet", "weight": 90.0, "root": ""' in text


def test_json_is_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "show", "--json", "stage2_dynamic")
    assert from_json(TrainConfig, json.loads(text)) == stage("stage2_dynamic")


def test_an_installed_package_has_the_stages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.setattr(named, "ROOT", tmp_path)  # where there is no configs/
    assert [line.split()[0] for line in output(capsys, "list").splitlines()] == list(STAGES)
    assert "name = stage3_affine\n" in output(capsys, "show", "stage3_affine")
    assert "did you mean debug?" in mistake(capsys, "show", "debgu")


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean --optim.lr?" in mistake(capsys, "show", "debug", "--optim.lrate", "1")
    assert "did you mean --json?" in mistake(capsys, "show", "debug", "--jsn")
    assert "no configuration named" in mistake(capsys, "show")
    assert "did you mean stage2_dynamic?" in mistake(capsys, "show", "stage2_dynamc")
    assert "takes no name" in mistake(capsys, "list", "debug")


def test_flags_of_the_configuration_are_split_off() -> None:
    args = "config show --a.b 1 debug --json --c=2 --d --e x y".split()
    own, overrides = split_overrides(args)
    assert own == ["config", "show", "debug", "--json"]
    assert overrides == ("--a.b", "1", "--c=2", "--d", "--e", "x", "y")
