"""A small run: stopped, killed or resumed, it ends with the same bits."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.config_io import from_json, to_json
from zipmap_jax.data.config import BatchShape, DataConfig
from zipmap_jax.errors import UserError
from zipmap_jax.models.presets import preset
from zipmap_jax.train.checkpoint import Checkpoints, start_or_resume
from zipmap_jax.train.config.schema import EmaConfig, LogConfig, OptimConfig, TrainConfig
from zipmap_jax.train.log.writer import Writer
from zipmap_jax.train.loop import Evaluate, both_weights, summary, train
from zipmap_jax.train.preemption import Stop, stop_on_signals
from zipmap_jax.train.sharding import make_mesh
from zipmap_jax.train.state import TrainState, initial_state
from zipmap_jax.train.step import Batch, train_step

CONFIG = TrainConfig(
    name="test",
    model=preset("tiny"),
    data=DataConfig(buckets=(BatchShape(2, 42, 42),)),
    optim=OptimConfig(lr=0.05),
    ema=EmaConfig(start=3),
    steps=12,
    log=LogConfig(every=2),
    eval_every=0,
    save_every=3,
    keep=2,
)

MESH = make_mesh(CONFIG.mesh, jax.devices()[:1])


def loss(params: dict[str, jax.Array], batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    error = jnp.mean((batch["images"] @ params["kernel"] - 0.3) ** 2)
    return error, {"loss_error": error}


def source(step: int) -> Batch:
    return {"images": jax.random.uniform(jax.random.key(step), (1, 1, 2, 6, 6, 3))}


def fresh() -> TrainState:
    return initial_state({"kernel": jnp.ones((3, 2))}, CONFIG.optim)


def go(
    workdir: Path,
    config: TrainConfig = CONFIG,
    source: Callable[[int], Batch] = source,
    evaluate: Evaluate | None = None,
    stop: Stop | None = None,
    **options: Any,
) -> tuple[TrainState, str]:
    """Start or resume in `workdir`; return the last state and the output."""
    console = io.StringIO()
    program = functools.partial(train_step, loss=loss, config=config, mesh=MESH)
    step = functools.partial(jax.jit(program, donate_argnames="state"), steps=config.steps)
    with (
        Checkpoints(workdir / "checkpoints", config.keep) as checkpoints,
        Writer(workdir, config.steps, config.log, console) as writer,
    ):
        state, line = start_or_resume(checkpoints, fresh, MESH)
        writer.text(line)
        state = train(state, step, source, config, checkpoints, writer, evaluate, stop, **options)
    return state, console.getvalue()


def stopping_source(at: int, action: Callable[[], None]) -> Callable[[int], Batch]:
    def draw(step: int) -> Batch:
        if step == at:
            action()
        return source(step)

    return draw


def assert_same_bits(a: TrainState, b: TrainState) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def loss_curve(workdir: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if row["kind"] == "train"]


def test_resumed_run_equals_uninterrupted_one_to_the_last_bit(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=40, log=LogConfig(every=1))
    whole, text = go(tmp_path / "whole", config)
    assert "starting from scratch" in text
    stop = Stop()
    request = functools.partial(setattr, stop, "requested", True)
    part, text = go(tmp_path / "parts", config, stopping_source(19, request), stop=stop)
    assert int(part.step) == 20
    assert "stopped by a signal: saved step 20" in text
    rest, text = go(tmp_path / "parts", config)
    assert "resuming at step 20" in text
    assert_same_bits(rest, whole)
    # JSON keeps every bit of a number.
    assert loss_curve(tmp_path / "parts") == loss_curve(tmp_path / "whole")
    assert [step for step, _ in loss_curve(tmp_path / "whole")] == list(range(1, 41))


def test_sigterm_saves_and_returns(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        kill = functools.partial(os.kill, os.getpid(), signal.SIGTERM)
        # Slow work is skipped, because the machine is about to be preempted.
        config = dataclasses.replace(CONFIG, eval_every=7, log=LogConfig(pictures_every=7))
        slow = {"evaluate": pytest.fail, "picture": pytest.fail}
        state, _ = go(tmp_path, config, stopping_source(6, kill), stop=stop, **slow)
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


def test_metrics_that_only_some_steps_have_are_averaged_over_those() -> None:
    window = [{"loss": jnp.float32(1.0), "loss_rgb": jnp.float32(3.0)}, {"loss": jnp.float32(2.0)}]
    assert summary(window) == {"loss": 1.5, "loss_rgb": 3.0}


@pytest.mark.parametrize("log_every", [0, 2])
def test_a_run_that_stays_non_finite_ends_and_stores_the_batch(
    log_every: int, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, max_skipped=4, log=LogConfig(every=log_every), steps=200)

    def broken(step: int) -> Batch:
        return jax.tree.map(lambda x: x * jnp.nan, source(step)) if step >= 3 else source(step)

    with pytest.raises(UserError, match=r"7 steps in a row .*broken_step_9\.npz"):
        go(tmp_path, config, source=broken)
    with np.load(tmp_path / "broken_step_9.npz") as kept:
        assert kept["step"] == 9
        assert kept["seed"] == config.seed
        assert kept["metric/skipped_in_row"] == 7
        np.testing.assert_array_equal(kept["images"], broken(9)["images"])
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        state = checkpoints.restore(jax.eval_shape(fresh))
    assert np.isfinite(state.params["kernel"]).all()


def test_occasional_non_finite_steps_are_counted(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, max_skipped=4, steps=20)

    def broken(step: int) -> Batch:
        return jax.tree.map(lambda x: x * jnp.nan, source(step)) if step % 3 else source(step)

    state, text = go(tmp_path, config, source=broken)
    assert int(state.step) == 20
    assert int(state.skipped) == 13
    assert "skipped 13 |" in text
    assert not list(tmp_path.glob("broken*"))


def test_a_trace_of_some_steps(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, log=LogConfig(profile_at=4, profile_steps=2))
    go(tmp_path, config)
    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 1000
    # A resumed run that is past these steps records nothing.
    go(tmp_path, dataclasses.replace(config, steps=14))
    assert len(list((tmp_path / "profile").rglob("*.xplane.pb"))) == 1


def test_pictures_and_flops_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zipmap_jax.train.log.writer.peak_flops", lambda _: 1e3)
    config = dataclasses.replace(CONFIG, log=LogConfig(every=4, pictures_every=5))

    def picture(state: TrainState) -> np.ndarray:
        return np.full((4, 4, 3), int(state.step), np.uint8)

    go(tmp_path, config, picture=picture, flops=lambda batch: float(batch["images"].size))
    assert {p.name for p in (tmp_path / "pictures").iterdir()} == {
        "step_5.png",
        "step_10.png",
        "step_12.png",
    }
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for row in (row for row in rows if row["kind"] == "train"):
        used = 216 / row["seconds_per_step"] / (1e3 * jax.device_count())
        assert row["mfu"] == pytest.approx(used, rel=1e-6)


def test_parameters_and_their_average_are_evaluated(tmp_path: Path) -> None:
    def numbers(params: dict[str, jax.Array]) -> dict[str, dict[str, float]]:
        return {"model": {"mean": float(params["kernel"].mean())}, "trivial": {"mean": 0.0}}

    state, text = go(
        tmp_path, dataclasses.replace(CONFIG, eval_every=12), evaluate=both_weights(numbers)
    )
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if row["kind"] == "eval"]
    assert row["ema"]["mean"] == float(state.ema["kernel"].mean())
    assert row["raw"]["mean"] == float(state.params["kernel"].mean())
    assert row["raw"] != row["ema"]
    assert "held out, raw, trivial in brackets: mean" in text


def test_configuration_survives_json() -> None:
    assert from_json(TrainConfig, json.loads(json.dumps(to_json(CONFIG)))) == CONFIG


def test_what_was_learned_is_saved_before_anything_else_is_tried(tmp_path: Path) -> None:
    def broken(state: TrainState) -> Any:
        raise MemoryError("evaluation")

    config = dataclasses.replace(CONFIG, save_every=0, eval_every=1000)
    with pytest.raises(MemoryError, match="evaluation"):
        go(tmp_path, config, evaluate=broken)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest == config.steps


def test_a_failing_source_loses_no_step(tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("no frame of scannet could be read")

    config = dataclasses.replace(CONFIG, save_every=0)
    with pytest.raises(ValueError, match="scannet"):
        go(tmp_path, config, source=stopping_source(7, fail))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest == 7


def test_a_second_signal_is_final() -> None:
    stop = Stop()
    stop()
    with pytest.raises(KeyboardInterrupt):
        stop()


def test_redrawn_scenes_are_reported(tmp_path: Path) -> None:
    class Counting:
        failures: ClassVar = {"scannet": 3, "co3d": 0}

        def __call__(self, step: int) -> Batch:
            return source(step)

    go(tmp_path, source=Counting())
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["redrawn/scannet"] == 3
    assert "redrawn/co3d" not in rows[-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "the run test has steps=0: it must be at least 1"),
        ({"seed": -1}, "seed=-1"),
        ({"keep": 0}, "keep=0"),
        ({"held_out": BatchShape(2, 43, 42)}, "images of 43x42 do not fit the model"),
    ],
)
def test_invalid_numbers(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_invalid_buckets() -> None:
    with pytest.raises(ValueError, match="a bucket has views=0"):
        BatchShape(0, 14, 14)
    with pytest.raises(ValueError, match="draws 4 views, but 3 views and 3 targets need 5"):
        BatchShape(3, 14, 14, targets=3, drawn=4)
    with pytest.raises(ValueError, match="the moving average has interval=0"):
        EmaConfig(interval=0)
    with pytest.raises(UserError, match=r"data\.buckets is empty"):
        DataConfig(buckets=())
