"""`train.py` and `eval.py` from the command line, on a model of a few thousand parameters."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.quick import QUICK
from tests.scenes import room

ROOT = Path(__file__).parents[2]

CONFIG = '''
from zipmap_jax.data.config import BatchShape, DataConfig
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.nn.config import CameraHeadConfig, DenseHeadConfig, EmbedderConfig
from zipmap_jax.train.config.schema import EmaConfig, LogConfig, OptimConfig, TrainConfig


def get_config():
    """A model of width 32 on pictures of 42 x 42 pixels."""
    model = ZipMapConfig(
        preset="micro",
        embedder=EmbedderConfig(width=32, depth=0, heads=2, image_size=42),
        depth=4,
        heads=2,
        layer_scale_init=0.2,
        taps=(0, 1, 2, 3),
        camera=CameraHeadConfig(kind="mlp"),
        dense=DenseHeadConfig(features=8, out_channels=(8, 8, 8, 8), hidden=4),
    )
    bucket = BatchShape(views=2, height=42, width=42, batch=4)
    return TrainConfig(
        name="micro",
        model=model,
        data=DataConfig(buckets=(bucket,), jitter=None),
        optim=OptimConfig(lr=3e-3, warmup=0.1, b2=0.95),
        ema=EmaConfig(decay=0.5, start=2),
        token_scale=0.02,
        steps=60,
        log=LogConfig(every=10),
        eval_every=10_000,
        save_every=0,
        held_out=bucket,
        eval_scenes=2,
        notes=("a model for tests",),
    )
'''


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "micro.py"
    path.write_text(CONFIG)
    return path


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def run(script: str, *arguments: object, timeout: float = 300) -> str:
    done = subprocess.run(
        command(script, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def losses(workdir: Path) -> list[float]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if row["kind"] == "train"]


@pytest.mark.slow
def test_a_preempted_run_has_the_loss_curve_of_an_uninterrupted_one(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLA_FLAGS", QUICK)
    train = ("train.py", "--config", config, "--steps", 40, "--log.every", 1, "--workdir")
    run(*train, tmp_path / "whole")
    process = subprocess.Popen(
        command(*train, tmp_path / "parts"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 20/40"):
            process.send_signal(signal.SIGTERM)
            break
    rest, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    stopped = re.search(r"stopped by a signal: saved step (\d+)", rest)
    assert stopped is not None
    assert 20 <= int(stopped[1]) < 40
    assert f"resuming at step {stopped[1]}" in run(*train, tmp_path / "parts")
    curve = losses(tmp_path / "whole")
    assert len(curve) == 40
    assert losses(tmp_path / "parts") == curve


@pytest.mark.slow
def test_train_stop_resume_export_and_evaluate(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    monkeypatch.setenv("XLA_FLAGS", QUICK)
    workdir = tmp_path / "run"
    train = ("train.py", "--config", config, "--workdir", workdir, "--compile_ahead", "true")

    # A preempted run saves and ends well. It is long enough to be met before its end.
    process = subprocess.Popen(
        command(*train, "--steps", 5000),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 10/5000"):
            process.send_signal(signal.SIGTERM)
            break
    rest, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    stopped = re.search(r"stopped by a signal: saved step (\d+)", rest)
    assert stopped is not None

    # The next start resumes and runs to the end, and the loss has fallen.
    steps = int(stopped[1]) + 60
    text = run(*train, "--steps", steps)
    assert f"resuming at step {stopped[1]}" in text
    assert f"step {steps} held out, raw, trivial in brackets: AbsRel" in text
    values = losses(workdir)
    assert np.mean(values[-3:]) < 0.9 * values[0]
    programs = (tmp_path / "cache").rglob("jit_step_of_run-*-cache")
    assert len(list(programs)) == 1, "a resumed run compiles nothing again"

    # The weights leave as a model folder, which scores as the run does.
    text = run(*train, "--export", tmp_path / "model", "--export-scenes", 2)
    assert text.splitlines()[-1] == str(tmp_path / "model")
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["training"]["steps"] == steps
    assert card["notes"] == ["a model for tests"]
    options = ("--scenes", 2, "--views", 2, "--size", 42, 42, "--json")
    exported = json.loads(run("eval.py", "--checkpoint", tmp_path / "model", *options))
    for answer, numbers in card["held_out"]["numbers"].items():
        assert exported[answer] == pytest.approx(numbers, abs=1e-4)


@pytest.mark.slow
def test_fifty_steps_of_the_embedded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of the guide: the loss falls, and the weights reconstruct photos."""
    monkeypatch.setenv("XLA_FLAGS", QUICK)
    workdir = tmp_path / "tiny"
    config = "configs/tiny_procedural.py"
    run("train.py", "--config", config, "--steps", 50, "--workdir", workdir, timeout=1800)
    values = losses(workdir)
    assert len(values) == 3
    assert values[0] > values[1] > values[2]
    assert values[2] < 0.9 * values[0]
    assert (workdir / "pictures" / "step_50.png").is_file()

    photos, scene = tmp_path / "photos", room(views=2)
    photos.mkdir()
    for number, image in enumerate(scene.images):
        Image.fromarray(image).save(photos / f"{number}.png")
    files = []
    for name, model in (("model", workdir / "model"), ("run", workdir)):
        out = tmp_path / name
        words = ["-m", "zipmap_jax.cli.main", "run", photos, "--model", model, "-o", out]
        subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, check=True)
        files.append(dict(np.load(out / "scene.npz")))
    assert files[0]["w2c"].shape == (2, 4, 4)
    for name in ("w2c", "intrinsics", "depth"):
        np.testing.assert_array_equal(files[0][name], files[1][name])


def test_mistakes_are_one_sentence(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "")
    done = subprocess.run(
        command("train.py", "--config", tmp_path / "none.py"), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.strip().startswith("train.py: error: no configuration")
    done = subprocess.run(
        command("train.py", "--config", config, "--workdir", tmp_path, "--export", tmp_path / "x"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no checkpoint in" in done.stderr
    start = ("--start.kind", "weights", "--start.path", tmp_path / "nobody")
    done = subprocess.run(
        command("train.py", "--config", config, "--workdir", tmp_path / "new", *start),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"nothing to start from at '{tmp_path / 'nobody'}': give" in done.stderr
