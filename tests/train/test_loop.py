"""A small run: it can be stopped, killed and resumed, and ends in the same bits."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.models.presets import preset
from zipmap_jax.train.checkpoint import Checkpoints, start_or_resume
from zipmap_jax.train.config import (
    Bucket,
    DataConfig,
    EmaConfig,
    LogConfig,
    OptimConfig,
    TrainConfig,
    from_json,
    to_json,
)
from zipmap_jax.train.loop import Evaluate, Stop, stop_on_signals, summary, train
from zipmap_jax.train.state import TrainState, initial_state
from zipmap_jax.train.step import Batch, train_step
from zipmap_jax.train.writer import Writer

CONFIG = TrainConfig(
    name="test",
    model=preset("tiny"),
    data=DataConfig(buckets=(Bucket(2, 42, 42),)),
    optim=OptimConfig(lr=0.05),
    ema=EmaConfig(start=3),
    steps=12,
    log=LogConfig(every=2),
    eval_every=0,
    save_every=3,
    keep=2,
)


def loss(params: dict[str, jax.Array], batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    error = jnp.mean((batch["images"] @ params["kernel"] - 0.3) ** 2)
    return error, {"loss_error": error}


def source(step: int) -> Batch:
    return {"images": jax.random.uniform(jax.random.key(step), (1, 2, 6, 6, 3))}


def fresh() -> TrainState:
    return initial_state({"kernel": jnp.ones((3, 2))}, CONFIG.optim)


def go(
    workdir: Path,
    config: TrainConfig = CONFIG,
    source: Callable[[int], Batch] = source,
    evaluate: Evaluate | None = None,
    stop: Stop | None = None,
) -> tuple[TrainState, str]:
    """Start or resume in `workdir`; the end state and what was printed."""
    console = io.StringIO()
    program = functools.partial(train_step, loss=loss, config=config)
    step = functools.partial(jax.jit(program, donate_argnames="state"), steps=config.steps)
    with (
        Checkpoints(workdir / "checkpoints", config.keep) as checkpoints,
        Writer(workdir, config.steps, config.log, console) as writer,
    ):
        state, line = start_or_resume(checkpoints, fresh)
        writer.say(line)
        state = train(state, step, source, config, checkpoints, writer, evaluate, stop)
    return state, console.getvalue()


def stopping_source(at: int, action: Callable[[], None]) -> Callable[[int], Batch]:
    def draw(step: int) -> Batch:
        if step == at:
            action()
        return source(step)

    return draw


def assert_same_bits(a: TrainState, b: TrainState) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_resumed_run_equals_uninterrupted_one_to_the_last_bit(tmp_path: Path) -> None:
    whole, text = go(tmp_path / "whole")
    assert "starting from scratch" in text
    stop = Stop()
    ask = functools.partial(setattr, stop, "asked", True)
    part, text = go(tmp_path / "parts", source=stopping_source(4, ask), stop=stop)
    assert int(part.step) == 5
    assert "asked to stop: saved step 5" in text
    rest, text = go(tmp_path / "parts")
    assert "resuming at step 5" in text
    assert_same_bits(rest, whole)


def test_sigterm_saves_and_returns(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        kill = functools.partial(os.kill, os.getpid(), signal.SIGTERM)
        state, _ = go(tmp_path, source=stopping_source(6, kill), stop=stop)
    assert signal.getsignal(signal.SIGTERM) == before
    assert int(state.step) == 7
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest == 7


def test_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    state, _ = go(tmp_path)
    folders = {p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()}
    assert folders == {"9", "12"}
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.config() == CONFIG
        assert_same_bits(checkpoints.restore(jax.eval_shape(fresh)), state)
        like = jax.eval_shape(fresh).params
        for which in ("ema", "params"):
            weights = checkpoints.restore_weights(like, which)
            np.testing.assert_array_equal(weights["kernel"], getattr(state, which)["kernel"])


def test_reading_leaves_the_save_of_a_running_process_alone(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    state, _ = go(tmp_path)
    unfinished = folder / "99.orbax-checkpoint-tmp"
    unfinished.mkdir()
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest == 12
    assert unfinished.exists()
    # Removed in the background, which the first save waits for.
    with Checkpoints(folder, keep=2) as checkpoints:
        assert checkpoints.latest == 12
        checkpoints.save(dataclasses.replace(state, step=state.step + 1), CONFIG)
        assert checkpoints.latest == 13
        assert not unfinished.exists()


def test_no_checkpoint_is_a_clear_error(tmp_path: Path) -> None:
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(ValueError, match="no checkpoint in"),
    ):
        checkpoints.restore(fresh())


def test_metrics_go_to_console_and_file(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, eval_every=6)

    def numbers(state: TrainState) -> dict[str, dict[str, float]]:
        return {"model": {"AbsRel": float(state.step)}, "trivial": {"AbsRel": 0.5}}

    _, text = go(tmp_path, config, evaluate=numbers)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    training = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in training] == [2, 4, 6, 8, 10, 12]
    assert training[-1]["loss"] < training[0]["loss"]
    assert {"loss_error", "lr", "norm/aggregator", "images_per_second"} <= set(training[0])
    assert [row["model"]["AbsRel"] for row in rows if row["kind"] == "eval"] == [6.0, 12.0]
    assert "step 2/12 " in text
    assert "0:00:00 left" in text
    assert "step 6 held out, trivial in brackets: AbsRel 6 (0.5)" in text


def test_summary_averages_what_is_finite_and_keeps_counters() -> None:
    window = [
        {"loss": jnp.float32(1.0), "bad": jnp.float32(jnp.nan), "skipped": jnp.int32(0)},
        {"loss": jnp.float32(jnp.inf), "bad": jnp.float32(jnp.nan), "skipped": jnp.int32(1)},
        {"loss": jnp.float32(4.0), "bad": jnp.float32(jnp.nan), "skipped": jnp.int32(1)},
    ]
    out = summary(window)
    assert out["loss"] == 2.5
    assert out["skipped"] == 1
    assert np.isnan(out["bad"])


@pytest.mark.parametrize("log_every", [0, 2])
def test_a_run_that_stays_broken_is_given_up(log_every: int, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, max_skipped=4, log=LogConfig(every=log_every), steps=200)

    def broken(step: int) -> Batch:
        return jax.tree.map(lambda x: x * jnp.nan, source(step))

    with pytest.raises(FloatingPointError, match=r"\d+ steps in a row"):
        go(tmp_path, config, source=broken)


def test_configuration_survives_json() -> None:
    assert from_json(TrainConfig, json.loads(json.dumps(to_json(CONFIG)))) == CONFIG


def test_unknown_configuration_field_is_named() -> None:
    with pytest.raises(ValueError, match="OptimConfig has no field momentum"):
        from_json(OptimConfig, {"lr": 1.0, "momentum": 0.9})
