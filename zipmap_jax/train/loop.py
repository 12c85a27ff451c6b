"""The training loop: batch, step, report, save, evaluate, until the end or a stop signal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.train.log.profile import Profile
from zipmap_jax.train.nonfinite import require_finite
from zipmap_jax.train.preemption import Stop

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from zipmap_jax.train.checkpoint import Checkpoints
    from zipmap_jax.train.config.schema import TrainConfig
    from zipmap_jax.train.log.writer import Writer
    from zipmap_jax.train.state import TrainState
    from zipmap_jax.train.step import Batch, Metrics

CHECK_EVERY = 10
"""Steps between two checks for non-finite updates; a check waits for the device."""
COUNTERS = ("lr", "skipped", "skipped_in_row")
"""Metrics reported with their newest value instead of a mean."""

StepFn = Callable[["TrainState", "Batch"], tuple["TrainState", "Metrics"]]
Source = Callable[[int], "Batch"]
"""Returns the batch of a step, which depends on the step's number alone."""
Evaluate = Callable[["TrainState"], Mapping[str, Mapping[str, float]]]
"""Returns the metrics of a state by method, such as "ema", "raw" and "trivial", the main first."""
Picture = Callable[["TrainState"], "UInt8[np.ndarray, 'h w 3']"]
"""Returns a picture of a state's prediction."""


def train(
    state: TrainState,
    step: StepFn,
    source: Source,
    config: TrainConfig,
    checkpoints: Checkpoints,
    writer: Writer,
    evaluate: Evaluate | None = None,
    stop: Stop | None = None,
    picture: Picture | None = None,
    flops: Callable[[Batch], float] | None = None,
) -> TrainState:
    """Run the remaining steps; save at intervals, at the end and at a stop.

    Args:
      state: of a new or resumed run.
      step: compiled training step.
      source: returns the batch of a step.
      config: the run.
      checkpoints: of the run.
      writer: destination of the metrics.
      evaluate: returns held-out metrics of a state; None = no evaluation.
      stop: request to end early, after a save.
      picture: returns a picture for the log; None = no pictures.
      flops: returns the floating-point operations of a step with a batch, on all devices.

    Returns:
      The last state.

    Raises:
      UserError: `config.max_skipped` consecutive steps were not finite.
    """
    stop, log = stop or Stop(), config.log
    saved_at, first = time.monotonic(), int(state.step)
    images, operations, waited, window = 0, 0.0, 0.0, []
    writer.start_clock(first)
    with Profile(writer.directory, log) as profile:
        for index in range(first, config.steps):
            profile.before(index)
            requested_at = time.monotonic()
            batch = _next_batch(source, index, state, config, checkpoints)
            waited += time.monotonic() - requested_at
            images += _image_count(batch)
            state, metrics = step(state, batch)
            operations += flops(batch) if flops else 0.0
            window.append(metrics)
            done, stopping = index + 1, stop.reached(index + 1)
            last = stopping or done == config.steps
            profile.after(done, metrics)
            if _due(done, log.every) or last:
                writer.train(done, summary(window) | redrawn(source), images, operations, waited)
                images, operations, waited, window = 0, 0.0, 0.0, []
            if _due(done, CHECK_EVERY) or last:
                require_finite(metrics, batch, index, config, writer.directory)
                window = window if log.every else window[-1:]
            if _due(done, config.save_every) or _long_since(saved_at, config) or last:
                checkpoints.save(state, config)
                saved_at = time.monotonic()
            if stopping:
                # A preempted machine has time for a save, but not for an evaluation.
                checkpoints.wait()
                writer.text(f"stopped by a signal: saved step {done}, start again to resume")
                break
            if evaluate and _due(done, config.eval_every, config.steps):
                with writer.paused(after=metrics):
                    writer.evaluation(done, evaluate(state))
            if picture and _due(done, log.pictures_every, config.steps):
                with writer.paused(after=metrics):
                    writer.picture(done, picture(state))
    checkpoints.wait()
    return state


def both_weights(evaluate: Callable[[Any], Mapping[str, Mapping[str, float]]]) -> Evaluate:
    """Evaluate both the moving average ("ema") and the parameters ("raw") of a state.

    Args:
      evaluate: returns metrics of parameters under "model" and "trivial".

    Returns:
      A function that returns the metrics of a state under "ema", "raw" and "trivial".
    """

    def numbers(state: TrainState) -> Mapping[str, Mapping[str, float]]:
        ema, raw = evaluate(state.ema), evaluate(state.params)
        return {"ema": ema["model"], "raw": raw["model"], "trivial": ema["trivial"]}

    return numbers


def summary(window: list[Metrics]) -> dict[str, float]:
    """Return means over the finite values of a window, NaN if there are none.

    `COUNTERS` have their last value.
    """
    rows = jax.device_get(window)
    out = {name: float(row[name]) for row in rows for name in row}
    for name in out.keys() - set(COUNTERS):
        values = [float(row[name]) for row in rows if name in row and np.isfinite(row[name])]
        out[name] = float(np.mean(values)) if values else float("nan")
    return out


def _due(step: int, every: int, end: int = 0) -> bool:
    """Whether an action that is due every `every` steps, and at `end`, is due; 0 = never."""
    return every > 0 and (step % every == 0 or step == end)


def redrawn(source: Source) -> dict[str, float]:
    """Return the number of scenes replaced because of an unusable frame, by data set."""
    failures = getattr(source, "failures", {})
    return {f"redrawn/{name}": float(count) for name, count in failures.items() if count}


def _next_batch(
    source: Source, index: int, state: TrainState, config: TrainConfig, checkpoints: Checkpoints
) -> Batch:
    """The batch of a step; if the source raises, the state is saved first."""
    try:
        return source(index)
    except Exception:
        if jax.process_count() == 1:  # a save needs all processes
            checkpoints.save(state, config)
        raise


def _long_since(saved_at: float, config: TrainConfig) -> bool:
    """Whether `config.save_minutes` have passed; only for one process, since clocks differ."""
    minutes = (time.monotonic() - saved_at) / 60
    return minutes >= config.save_minutes and jax.process_count() == 1


def _image_count(batch: Mapping[str, Any]) -> int:
    shapes = [batch[name].shape for name in ("images", "target_images") if name in batch]
    return sum(microbatches * scenes * views for microbatches, scenes, views, *_ in shapes)
