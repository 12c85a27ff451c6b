"""How a run is asked to stop: by a signal, at one process or at several."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import jax

from zipmap_jax.train.distributed import preempted


class Stop:
    """Set by SIGTERM or Ctrl-C; the loop looks at it after every step. A second signal is final."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def reached(self, step: int) -> bool:
        """Whether the run ends after this step."""
        del step
        return self.asked


class AgreedStop(Stop):
    """The stop of several processes: SIGTERM at one of them ends all after the same step."""

    def reached(self, step: int) -> bool:
        self.asked = preempted(step)
        return self.asked


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn SIGTERM and SIGINT into a request to stop, for the length of a `with` block.

    Of a run of several processes JAX itself catches SIGTERM, and Ctrl-C ends it at once.
    """
    if jax.process_count() > 1:
        yield AgreedStop()
        return
    stop = Stop()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, stop) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
