"""`zipmap bench runtime`: files, numbers, errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.cli.conftest import MICRO
from zipmap_jax.bench import matmul
from zipmap_jax.bench.runtime import Effort
from zipmap_jax.bench.series import RuntimeConfig
from zipmap_jax.cli.main import main
from zipmap_jax.errors import UserError
from zipmap_jax.models.presets import SIZES


@pytest.fixture(autouse=True)
def micro(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "micro", MICRO)
    monkeypatch.setattr(matmul, "_CPU_SIDE", 64)


def test_rows_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", "runtime", "--preset", "micro", "--size", "28x28", "--views", "2"]
    argv += ["--mixer", "attention", "--repeats", "2", "-o", str(tmp_path), "--json"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    (row,) = facts["rows"]
    assert (row["series"], row["views"], row["repeats"]) == ("attention", 2, 2)
    assert row["seconds"] > 0
    assert facts["config"]["dtype"] == "fp32"
    assert json.loads((tmp_path / "runtime.json").read_text()) == facts
    assert (tmp_path / "runtime.md").read_text().startswith("# Runtime: micro, 28x28, fp32")
    assert (tmp_path / "runtime.svg").exists()
    assert err.startswith("attention, 2 views: ")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--preset", "huge"], "unknown preset 'huge'"),
        (["--size", "28"], "--size takes HEIGHTxWIDTH"),
        (["--size", "30x28"], "multiples of 14"),
        (["--views", "0"], "--views takes whole numbers"),
        (["--heads", "depth,normals"], "unknown heads normals"),
        (["--mixer", "pooling"], "unknown mixer 'pooling'"),
        (["--repeats", "0"], "--repeats must be positive, got 0: leave it out"),
        (["--row-seconds", "nan"], "--row-seconds must be positive, got nan: leave it out"),
        (["--chunk", "-2"], "--chunk must be positive, got -2: leave it out"),
        (
            ["--torch", "nothing:build"],
            "needs the number format of both models, got --dtype auto: give",
        ),
        (["--torch", "nothing:build", "--dtype", "fp32"], "No module named 'nothing'"),
    ],
)
def test_errors_are_one_sentence(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["bench", "runtime", "--preset", "micro", "--size", "28x28", "--views", "1"]
    assert main([*base, *argv]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_every_option_reaches_the_benchmark(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}

    def run(config: object, effort: object, *rest: object) -> None:
        seen.update(config=config, effort=effort)
        raise UserError("far enough")

    monkeypatch.setattr("zipmap_jax.bench.series.run", run)
    argv = "bench runtime --preset micro --views 2,3 --size 28x42 --heads depth --mixer attention"
    more = "--streaming --query --dtype bf16 --chunk 4 --repeats 5 --row-seconds 6"
    assert main([*argv.split(), *more.split()]) == 2
    assert "far enough" in capsys.readouterr().err
    expected = RuntimeConfig(
        preset="micro",
        views=(2, 3),
        size=(28, 42),
        heads=("depth",),
        mixers=("attention",),
        streaming=True,
        query=True,
        dtype="bf16",
        chunk=4,
    )
    assert seen == dict(config=expected, effort=Effort(5, 2, 6.0))
    for field in dataclasses.fields(RuntimeConfig):
        assert field.default != getattr(expected, field.name), field.name
