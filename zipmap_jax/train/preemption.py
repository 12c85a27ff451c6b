"""Requests to stop a run by a signal, for one or several processes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import jax

from zipmap_jax.train.distributed import preempted


class Stop:
    """A request to stop, set by SIGTERM or Ctrl-C; a second signal interrupts at once."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self, *_: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def reached(self, step: int) -> bool:
        """Whether the run ends after this step."""
        del step
        return self.requested


class SharedStop(Stop):
    """A request to stop all processes after the same step, set by SIGTERM to one of them."""

    def reached(self, step: int) -> bool:
        self.requested = preempted(step)
        return self.requested


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn SIGTERM and SIGINT into a request to stop within a `with` block.

    In a run of several processes, JAX catches SIGTERM and Ctrl-C ends the process at once.
    """
    if jax.process_count() > 1:
        yield SharedStop()
        return
    stop = Stop()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, stop) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
