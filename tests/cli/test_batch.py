"""`zipmap batch`: exit codes, the manifest, and outputs equal to those of `zipmap run`."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.echo import echo_model
from zipmap_jax.batch.plan import BatchOptions
from zipmap_jax.cli import batch
from zipmap_jax.cli.main import main
from zipmap_jax.errors import UserError
from zipmap_jax.export.options import ExportOptions
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.inference.options import ComputeOptions

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]
COUNTS = {"a": 3, "b": 4, "c": 2, "d": 3, "e": 1, "f": 4}


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        (tmp_path / "scenes" / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "scenes" / name / f"{i}.png")
    return tmp_path / "scenes"


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    model = echo_model()
    monkeypatch.setattr(batch, "load_model", lambda name, precision: model)


def manifest(out: Path) -> dict[str, dict]:
    return {row["name"]: row for row in json.loads((out / "manifest.json").read_text())["scenes"]}


@pytest.mark.usefixtures("echo")
def test_exit_codes_and_the_manifest(scenes: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    (scenes / "broken").mkdir()
    (scenes / "broken" / "x.png").write_bytes(b"nothing")
    argv = ["batch", str(scenes), "-o", str(out)]
    assert main([*argv, "--json"]) == 1
    shown, err = capsys.readouterr()
    facts = json.loads(shown)
    assert (facts["scenes"], facts["done"], facts["failed"]) == (7, 6, 1)
    assert "7/7 " in err
    assert "x.png is not an image" in err
    rows = manifest(out)
    assert {name: rows[name]["views"] for name in COUNTS} == COUNTS
    assert rows["broken"]["status"] == "failed"
    assert "x.png is not an image" in rows["broken"]["error"]
    assert all(rows[name]["seconds"] > 0 for name in COUNTS)
    (scenes / "broken" / "x.png").unlink()
    (scenes / "broken").rmdir()
    assert main(argv) == 0
    assert "finished before: 6" in capsys.readouterr().out
    assert set(manifest(out)) == set(COUNTS)


@pytest.mark.usefixtures("echo")
def test_processes_share_the_work(scenes: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    assert main(["batch", str(scenes), "-o", str(out), "--process", "1/2"]) == 0
    assert Counter(row["status"] for row in manifest(out).values()) == dict(done=3, waiting=3)
    assert main(["batch", str(scenes), "-o", str(out), "--process", "0/2"]) == 0
    assert Counter(row["process"] for row in manifest(out).values()) == {"0/2": 3, "1/2": 3}


@pytest.mark.usefixtures("echo")
def test_errors_exit_with_2_before_loading(
    scenes: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    for argv, words in (
        ([tmp_path / "nowhere"], "nowhere is no folder"),
        ([scenes / "a"], "use zipmap run"),
        ([scenes, "--size", "33"], "multiple of the patch size"),
        ([scenes, "--max-views", "0"], "--max-views must be at least 1"),
        ([scenes, "--batch-size", "0"], "--batch-size must be at least 1"),
        ([scenes, "--fps", "0"], "--fps must be a positive number"),
        ([scenes, "--conf-threshold", "101"], "percentage"),
        ([scenes, "--process", "2/2"], "like 0/4, got 2/2"),
    ):
        assert main(["batch", *map(str, argv), "-o", str(out)]) == 2
        assert words in capsys.readouterr().err
    assert not out.exists()
    assert main(["batch", str(scenes), "-o", str(out)]) == 0
    assert main(["batch", str(scenes), "-o", str(out), "--fps", "2"]) == 2
    assert "was started with --fps 1.0, not 2.0" in capsys.readouterr().err
    trained_on = echo_model(tail=(0, 0, 0, 1, 1.1, 1.3))
    monkeypatch.setattr(batch, "load_model", lambda *args: trained_on)
    assert main(["batch", str(scenes), "-o", str(out)]) == 2
    assert "was started with weights " in capsys.readouterr().err


def zipmap(*argv: object) -> list[str]:
    return [sys.executable, "-m", "zipmap_jax.cli.main", *map(str, argv)]


@pytest.mark.slow
def test_a_killed_run_of_the_embedded_model_resumes(scenes: Path, tmp_path: Path) -> None:
    """After SIGKILL, outputs agree with those of single runs and no scene is done twice."""
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    env.pop("ZIPMAP_NO_CACHE", None)
    out = tmp_path / "out"
    command = zipmap("batch", scenes, "-o", out, "--size", 28, "--batch-size", 2)
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    try:
        deadline = time.monotonic() + 240
        while not list(out.glob("?")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("?")}
    assert 1 <= len(done) < 6, "killed in the middle"
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    assert all((out / name).stat().st_mtime_ns == when for name, when in done.items())
    assert {name: row["views"] for name, row in manifest(out).items()} == COUNTS
    whole = tmp_path / "whole"
    subprocess.run([*command[:6], whole, *command[7:]], cwd=ROOT, env=env, check=True)
    subprocess.run(
        zipmap("run", scenes / "a", "-o", tmp_path / "a", "--size", 28),
        cwd=ROOT,
        env=env,
        check=True,
    )
    for name in COUNTS:
        with np.load(out / name / "scene.npz") as x, np.load(whole / name / "scene.npz") as y:
            assert x.files == y.files
            for key in x.files:
                if x[key].dtype.kind == "f":  # the place in a group rounds differently
                    np.testing.assert_allclose(x[key], y[key], rtol=2e-6, atol=2e-6)
                else:
                    np.testing.assert_array_equal(x[key], y[key])
    with np.load(out / "a" / "scene.npz") as x, np.load(tmp_path / "a" / "scene.npz") as y:
        # Two scenes per program sum in another order.
        for key in ("depth", "w2c", "intrinsics"):
            np.testing.assert_allclose(x[key], y[key], rtol=1e-4, atol=1e-5)


def test_every_option_reaches_the_batch(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A new option that is not passed on keeps its default, and fails here."""
    seen: dict[str, Any] = {}

    def run_batch(model: object, scenes: object, journal: object, options: Any, **_: object) -> Any:
        seen.update(options=options)
        raise UserError("far enough")

    model = echo_model()
    monkeypatch.setattr("zipmap_jax.batch.run.run_batch", run_batch)
    monkeypatch.setattr(batch, "load_model", lambda *names: seen.update(names=names) or model)
    flags = "--size 28 --mode pad --fps 2 --max-views 3 --chunk 2 --strict --no-exif"
    flags += " --conf-threshold 20 --batch-size 2 --model other --precision bf16"
    flags += " --output-size 80 --formats npz,html --points 9 --depth-dtype float16"
    out = tmp_path / "out"
    assert main(["batch", str(scenes), "-o", str(out), *flags.split()]) == 2
    assert "far enough" in capsys.readouterr().err
    assert seen["names"] == ("other", "bf16")
    expected = ReadOptions(28, "pad", 2.0, 3, strict=True, exif=False, output_size=80)
    export = ExportOptions(20.0, 9, ("html", "npz"), "float16")
    options = seen["options"]
    assert options == BatchOptions(expected, ComputeOptions(chunk=2), export, 2)
    for given, defaults in (
        (options, BatchOptions(ReadOptions())),
        (options.read, ReadOptions()),
        (options.export, ExportOptions()),
    ):
        for field in dataclasses.fields(given):
            assert getattr(given, field.name) != getattr(defaults, field.name), field.name
