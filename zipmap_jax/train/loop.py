"""The loop: draw, step, report, evaluate, save; stops cleanly when asked to."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    from zipmap_jax.train.checkpoint import Checkpoints
    from zipmap_jax.train.config import TrainConfig
    from zipmap_jax.train.state import TrainState
    from zipmap_jax.train.step import Batch, Metrics
    from zipmap_jax.train.writer import Writer

CHECK_EVERY = 10
"""Steps between two looks at whether the run still makes progress: a look waits for the device."""
COUNTERS = ("lr", "skipped", "skipped_in_row")
"""Metrics of which only the newest value counts."""

StepFn = Callable[["TrainState", "Batch"], tuple["TrainState", "Metrics"]]
Source = Callable[[int], "Batch"]
"""The batch of a step: a function of the step's number alone, so that resuming repeats nothing."""
Evaluate = Callable[["TrainState"], Mapping[str, Mapping[str, float]]]
"""Metrics of a state by the name of the answer: "model", and "trivial" to compare with."""


class Stop:
    """Set by SIGTERM or Ctrl-C; the loop looks at it after every step."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, *_: object) -> None:
        self.asked = True


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn SIGTERM and SIGINT into a request to stop, for the length of a `with` block."""
    stop = Stop()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, stop) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def train(
    state: TrainState,
    step: StepFn,
    source: Source,
    config: TrainConfig,
    checkpoints: Checkpoints,
    writer: Writer,
    evaluate: Evaluate | None = None,
    stop: Stop | None = None,
) -> TrainState:
    """Run the steps that are left; saves at intervals, at the end and when asked to stop.

    Args:
      state: of a new or a resumed run.
      step: compiled training step.
      source: batch of a step.
      evaluate: held-out numbers of a state.
      stop: request to end early; the state is saved before returning.

    Raises:
      FloatingPointError: after `config.max_skipped` non-finite steps in a row.
    """
    stop = stop or Stop()
    saved_at = time.monotonic()
    images, window = 0, []
    first = int(state.step)
    writer.start_clock(first)
    for index in range(first, config.steps):
        batch = source(index)
        images += _image_count(batch)
        state, metrics = step(state, batch)
        window.append(metrics)
        done = index + 1
        last = done == config.steps or stop.asked
        if _due(done, config.log.every) or last:
            writer.train(done, summary(window), images)
            images, window = 0, []
        if _due(done, CHECK_EVERY) or last:
            _give_up_if_broken(metrics, config)
            window = window if config.log.every else window[-1:]
        at_end = config.eval_every > 0 and done == config.steps
        if evaluate is not None and (_due(done, config.eval_every) or at_end):
            writer.evaluation(done, evaluate(state))
            writer.start_clock(done)
        minutes = (time.monotonic() - saved_at) / 60
        if _due(done, config.save_every) or minutes >= config.save_minutes or last or stop.asked:
            checkpoints.save(state, config)
            saved_at = time.monotonic()
        if stop.asked:
            writer.say(f"asked to stop: saved step {done}, start again to resume")
            break
    return state


def summary(window: list[Metrics]) -> dict[str, float]:
    """Means over the steps of a window, without values that are not finite; counters as of its end.

    A window in which a metric is never finite reports NaN.
    """
    rows = jax.device_get(window)
    out = {name: float(value) for name, value in rows[-1].items()}
    for name in out.keys() - set(COUNTERS):
        values = [float(row[name]) for row in rows if np.isfinite(row[name])]
        out[name] = float(np.mean(values)) if values else float("nan")
    return out


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _image_count(batch: Mapping[str, Any]) -> int:
    slots, scenes, views = batch["images"].shape[:3]
    return slots * scenes * views


def _give_up_if_broken(metrics: Metrics, config: TrainConfig) -> None:
    row = int(metrics["skipped_in_row"])
    if row >= config.max_skipped:
        raise FloatingPointError(
            f"{row} steps in a row were not finite: lower optim.lr or look at the data; "
            "the last checkpoint is good"
        )
