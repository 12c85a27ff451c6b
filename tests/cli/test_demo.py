"""`zipmap demo` renders, reconstructs, compares and writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zipmap_jax.cli import demo
from zipmap_jax.cli.main import main
from zipmap_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("micro_model")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    # All tests use one size and number of pictures, and therefore one compiled program.
    monkeypatch.setattr(demo, "HEIGHT", 42)
    monkeypatch.setattr(demo, "WIDTH", 56)


def test_demo_prints_errors_of_model_and_trivial_prediction(
    tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "-o", str(out), "--views", "3"]) == 0
    shown = capsys.readouterr().out
    assert "trivial" in shown
    assert all(name in shown for name in demo.METRICS)
    assert shown.splitlines()[-1] == str(out / "scene.html")
    assert f"procedural scene {demo.SCENE};" in (out / "README.txt").read_text()


def test_json_contains_the_errors(tmp_path: Path, capsys: Capture) -> None:
    argv = ["demo", "-o", str(tmp_path / "demo"), "--views", "3", "--scene", "7", "--json"]
    assert main(argv) == 0
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert set(errors) == {"model", "trivial"}
    for numbers in errors.values():
        assert set(numbers) == set(demo.METRICS)
        assert np.isfinite(list(numbers.values())).all()


def test_scenes_differ_by_number_and_are_reproducible() -> None:
    def silent(stage: str, done: int, total: int) -> None:
        del stage, done, total

    first, again, other = (demo.render(scene, 3, silent) for scene in (0, 0, 1))
    np.testing.assert_array_equal(first["images"], again["images"])
    assert np.abs(first["images"] - other["images"]).max() > 0.1
    assert first["depth"].shape == (3, 42, 56)


@pytest.mark.parametrize("flags", [["--scene", "-1"], ["--views", "1"]], ids=" ".join)
def test_invalid_options(flags: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["demo", "-o", str(tmp_path / "demo"), *flags]) == 2
    err = capsys.readouterr().err
    assert flags[0] in err
    assert flags[1] in err


def test_existing_output_is_an_error(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "demo").mkdir()
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    assert "--force" in capsys.readouterr().err


def test_every_option_reaches_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def render(scene: int, views: int, report: object) -> None:
        seen.update(scene=scene, views=views)
        raise UserError("far enough")

    monkeypatch.setattr(demo, "render", render)
    monkeypatch.setattr(demo, "load_model", lambda *names: seen.update(names=names))
    monkeypatch.setattr(
        "zipmap_jax.export.check_output", lambda out, *, force: seen.update(out=out, force=force)
    )
    argv = ["demo", "-o", str(tmp_path / "x"), "--scene", "4", "--views", "5", "--force"]
    assert main([*argv, "--precision", "bf16"]) == 2
    assert seen == dict(scene=4, views=5, names=("tiny", "bf16"), out=tmp_path / "x", force=True)
