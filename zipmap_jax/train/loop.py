"""The loop: draw, step, report, evaluate, save; stops cleanly when asked to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.train.log.profile import Profile
from zipmap_jax.train.nonfinite import give_up_if_broken
from zipmap_jax.train.preemption import Stop

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from zipmap_jax.train.checkpoint import Checkpoints
    from zipmap_jax.train.config.schema import TrainConfig
    from zipmap_jax.train.log.writer import Writer
    from zipmap_jax.train.state import TrainState
    from zipmap_jax.train.step import Batch, Metrics

CHECK_EVERY = 10
"""Steps between two looks at whether the run still makes progress: a look waits for the device."""
COUNTERS = ("lr", "skipped", "skipped_in_row")
"""Metrics of which only the newest value counts."""

StepFn = Callable[["TrainState", "Batch"], tuple["TrainState", "Metrics"]]
Source = Callable[[int], "Batch"]
"""The batch of a step: a function of the step's number alone, so that resuming repeats nothing."""
Evaluate = Callable[["TrainState"], Mapping[str, Mapping[str, float]]]
"""Metrics of a state by the name of the answer, such as "ema", "raw" and "trivial"; the one that
matters comes first."""
Picture = Callable[["TrainState"], "UInt8[np.ndarray, 'h w 3']"]
"""A picture of what a state predicts."""


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
    """Run the steps that are left; saves at intervals, at the end and when asked to stop.

    Args:
      state: of a new or a resumed run.
      step: compiled training step.
      source: batch of a step.
      evaluate: held-out numbers of a state.
      stop: request to end early; the state is saved before returning.
      picture: of a state, for the log.
      flops: floating-point operations of a step with such a batch, all devices together.

    Raises:
      UserError: after `config.max_skipped` non-finite steps in a row.
    """
    stop, log = stop or Stop(), config.log
    saved_at, first = time.monotonic(), int(state.step)
    images, work, waited, window = 0, 0.0, 0.0, []
    writer.start_clock(first)
    with Profile(writer.directory, log) as profile:
        for index in range(first, config.steps):
            profile.before(index)
            asked_at = time.monotonic()
            batch = _drawn(source, index, state, config, checkpoints)
            waited += time.monotonic() - asked_at
            images += _image_count(batch)
            state, metrics = step(state, batch)
            work += flops(batch) if flops else 0.0
            window.append(metrics)
            done, asked = index + 1, stop.reached(index + 1)
            last = asked or done == config.steps
            profile.after(done, metrics)
            if _due(done, log.every) or last:
                writer.train(done, summary(window) | redrawn(source), images, work, waited)
                images, work, waited, window = 0, 0.0, 0.0, []
            if _due(done, CHECK_EVERY) or last:
                give_up_if_broken(metrics, batch, index, config, writer.directory)
                window = window if log.every else window[-1:]
            if _due(done, config.save_every) or _long_since(saved_at, config) or last:
                checkpoints.save(state, config)
                saved_at = time.monotonic()
            if asked:
                # A machine that is about to be taken away has time for a save, not for more.
                checkpoints.wait()
                writer.text(f"asked to stop: saved step {done}, start again to resume")
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
    """Held-out numbers of a state: "ema", which is the main one, "raw" and "trivial".

    Args:
      evaluate: from parameters to metrics under "model" and under "trivial".
    """

    def numbers(state: TrainState) -> Mapping[str, Mapping[str, float]]:
        ema, raw = evaluate(state.ema), evaluate(state.params)
        return {"ema": ema["model"], "raw": raw["model"], "trivial": ema["trivial"]}

    return numbers


def summary(window: list[Metrics]) -> dict[str, float]:
    """Means over the steps of a window, without values that are not finite; counters as of its end.

    A metric that is never finite is NaN; one that only some steps have is their mean.
    """
    rows = jax.device_get(window)
    out = {name: float(row[name]) for row in rows for name in row}
    for name in out.keys() - set(COUNTERS):
        values = [float(row[name]) for row in rows if name in row and np.isfinite(row[name])]
        out[name] = float(np.mean(values)) if values else float("nan")
    return out


def _due(step: int, every: int, end: int = 0) -> bool:
    """Whether something is due that happens every so many steps, and at the `end` if it ever is."""
    return every > 0 and (step % every == 0 or step == end)


def redrawn(source: Source) -> dict[str, float]:
    """By data set, scenes drawn anew since the start because a frame could not be used."""
    failures = getattr(source, "failures", {})
    return {f"redrawn/{name}": float(count) for name, count in failures.items() if count}


def _drawn(
    source: Source, index: int, state: TrainState, config: TrainConfig, checkpoints: Checkpoints
) -> Batch:
    """The batch of a step; when there is none to be had, what was learned so far is saved first."""
    try:
        return source(index)
    except Exception:
        if jax.process_count() == 1:  # a save takes all processes
            checkpoints.save(state, config)
        raise


def _long_since(saved_at: float, config: TrainConfig) -> bool:
    """Whether a save is due by the clock; the clocks of several processes would not agree."""
    minutes = (time.monotonic() - saved_at) / 60
    return minutes >= config.save_minutes and jax.process_count() == 1


def _image_count(batch: Mapping[str, Any]) -> int:
    shapes = [batch[name].shape for name in ("images", "target_images") if name in batch]
    return sum(microbatches * scenes * views for microbatches, scenes, views, *_ in shapes)
