"""A run of two processes with four devices each: training, preemption and resumption."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.quick import QUICK
from tests.train.test_train_script import CONFIG, ROOT
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train.checkpoint import Checkpoints
from zipmap_jax.train.config.registry import load
from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.initial_weights import random_parameters
from zipmap_jax.train.state import initial_state

FROZEN = ("embedder/mask_token", "depth_head/*", "local_point_head/*")
"""Heads that see one view at a time: without their updates the step compiles in half the time."""


def earlier_run(workdir: Path, config: TrainConfig) -> None:
    """Write the checkpoint of a run of one process."""
    params = random_parameters(
        ZipMap(config.model), jax.random.key(config.seed), config.token_scale
    )
    state = jax.jit(initial_state, static_argnums=1)(params, config.optim)
    with Checkpoints(workdir / "checkpoints", keep=1) as checkpoints:
        checkpoints.save(state, config)


def start(
    config: Path, workdir: Path, steps: int, processes: int, *more: str
) -> list[subprocess.Popen[str]]:
    """Start `train.py` on eight devices, divided over the processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = f"{QUICK} --xla_force_host_platform_device_count={8 // processes}"
    command = [sys.executable, str(ROOT / "train.py"), "--config", str(config)]
    command += ["--workdir", str(workdir), "--steps", str(steps), "--mesh.fsdp", "2"]
    command += ["--data.microbatches", "8", *more]
    together = ["--coordinator", f"127.0.0.1:{port}", "--processes", str(processes)]
    return [
        subprocess.Popen(
            [*command, *([*together, "--process", str(number)] if processes > 1 else [])],
            cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    outputs = [process.communicate(timeout=600) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [out for out, _ in outputs]


def rows(workdir: Path, kind: str) -> list[dict[str, Any]]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def losses(workdir: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in rows(workdir, "train")}


@pytest.mark.slow
def test_two_processes_train_as_one_and_survive_preemption(tmp_path: Path) -> None:
    config = tmp_path / "micro.py"
    text = CONFIG.replace("batch=4", "batch=1").replace("every=10)", "every=2)")
    config.write_text(text.replace("OptimConfig(", f"OptimConfig(frozen={FROZEN}, "))

    # Two processes resume from the save of one. SIGTERM to one of them: both save the same step
    # and end well.
    quiet = ("--eval_every", "0", "--log.pictures_every", "0")
    earlier_run(tmp_path / "alone", load(str(config)))
    later = ("--start.kind", "weights", "--start.path", str(tmp_path / "alone"))
    pair = start(config, tmp_path / "two", 10_000, 2, *later)
    assert pair[0].stdout is not None
    begun = []
    for line in pair[0].stdout:
        begun.append(line)
        if line.startswith("step 4/"):
            pair[1].send_signal(signal.SIGTERM)
            break
    first, second = finish(pair)
    assert f"starting from the weights of {tmp_path / 'alone'}" in "".join(begun)
    stopped = re.search(r"stopped by a signal: saved step (\d+)", first)
    assert stopped is not None
    # Gloo writes to this stream from several threads.
    assert not re.search("parameters on|step |saved|resuming", second), "one process speaks"

    # Both together, and one process with all eight devices, resume and run the same steps.
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    steps = int(stopped[1]) + 4
    for name, processes, more in (("two", 2, ()), ("one", 1, quiet)):
        text = finish(start(config, tmp_path / name, steps, processes, *later, *more))[0]
        assert f"resuming at step {stopped[1]}" in text
        assert (tmp_path / name / "model" / "card.json").is_file()
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys()
    np.testing.assert_allclose(list(one.values()), list(two.values()), rtol=1e-4)
    # One process evaluates and draws for all.
    (held_out,) = rows(tmp_path / "two", "eval")
    assert held_out["step"] == steps
    assert all(0 < held_out[answer]["AbsRel"] < 10 for answer in ("ema", "raw"))
    assert (tmp_path / "two" / "pictures" / f"step_{steps}.png").is_file()


@pytest.mark.slow
def test_two_processes_read_what_one_reads(tmp_path: Path) -> None:
    """Each reads half of the microbatches; the batches equal those of a single process."""
    config = tmp_path / "micro.py"
    config.write_text(CONFIG.replace("batch=4", "batch=1"))
    mixture = json.dumps([{"name": "procedural"}])
    more = ("--data.engine", "loader", "--data.mixture", mixture, "--log.every", "1")
    quiet = ("--eval_every", "0", "--log.pictures_every", "0")
    for name, processes in (("one", 1), ("two", 2)):
        finish(start(config, tmp_path / name, 4, processes, *more, *quiet))
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one) == list(two) == [1, 2, 3, 4]
    np.testing.assert_allclose(list(one.values()), list(two.values()), rtol=1e-4)
    assert len({round(value, 6) for value in one.values()}) == 4
