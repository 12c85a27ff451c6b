"""Trace of a few steps, for `tensorboard --logdir` or https://ui.perfetto.dev."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from pathlib import Path

    from zipmap_jax.train.config.schema import LogConfig


class Profile:
    """Records steps `log.profile_at` to `log.profile_at + log.profile_steps - 1` of a run.

    Use it as a context manager, which also stores the trace of a run that ends early.

    Args:
      directory: folder in which `profile` is created.
      log: first step and number of steps.
    """

    def __init__(self, directory: Path, log: LogConfig) -> None:
        self._folder = directory / "profile"
        first = log.profile_at
        self._first, self._end = (first, first + log.profile_steps) if first else (-1, -1)
        self._running = False

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def before(self, step: int) -> None:
        """Start the trace if it begins with step `step`, counted from 0."""
        if step == self._first:
            jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self, done: int, result: Any) -> None:
        """End the trace if it ends after `done` steps; `result` is the output of the last one."""
        if self._running and done >= self._end:
            jax.block_until_ready(result)  # devices lag behind Python
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
