"""A trace of a few steps, for `tensorboard --logdir` or https://ui.perfetto.dev."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from pathlib import Path

    from zipmap_jax.train.config.schema import LogConfig


class Profile:
    """Records steps `log.profile_at` to `log.profile_at + log.profile_steps - 1` of a run.

    Use it as a context manager, so that a run that ends earlier keeps what it has.

    Args:
      directory: the trace goes into `profile` below it.
      log: which steps; `profile_at` 0 records none.
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
        """Call it before step `step`, counted from 0."""
        if step == self._first:
            jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self, done: int, result: Any) -> None:
        """Call it when `done` steps are made; `result` is what the last one returned."""
        if self._running and done >= self._end:
            jax.block_until_ready(result)  # devices lag behind Python
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
