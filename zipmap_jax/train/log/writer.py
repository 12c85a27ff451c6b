"""Training metrics, sent to the configured writers."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
from PIL import Image

from zipmap_jax.compilation.flops import peak_flops
from zipmap_jax.train.config.schema import LogConfig
from zipmap_jax.train.log.sinks import OPTIONAL, left_out, writers_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    import numpy as np
    from jaxtyping import UInt8

    from zipmap_jax.train.log.sink import Sink

_DEFAULT = LogConfig()


class Writer:
    """All writers of one run; use as a context manager.

    A writer over a network that fails is left out from then on, with a line that says so.

    Args:
      directory: work directory.
      steps: length of the run, for the estimate of the time left.
      log: which writers.
      console: where lines go; None = standard output.

    Raises:
      UserError: a writer is not known, or its package is not installed.
    """

    def __init__(
        self,
        directory: str | Path,
        steps: int,
        log: LogConfig = _DEFAULT,
        console: TextIO | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        # Only the first process writes.
        log = log if jax.process_index() == 0 else dataclasses.replace(log, writers=())
        self._sinks, failures = writers_for(log, self.directory, steps, console)
        self._peak = peak_flops(jax.devices()[0].device_kind)
        self._mark: tuple[float, int] | None = None
        for line in failures:
            self.say(line)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._send(lambda sink: sink.close())

    def say(self, text: str) -> None:
        """One line."""
        self._send(lambda sink: sink.text(text))

    def start_clock(self, step: int) -> None:
        """Measure speed from here; call it before the first step."""
        self._mark = (time.monotonic(), step)

    @contextlib.contextmanager
    def paused(self, after: Any = None) -> Iterator[None]:
        """What happens in the block does not count against the speed of the training.

        Args:
          after: what the last step returned; the pause begins when the devices have made it.
        """
        jax.block_until_ready(after)
        start = time.monotonic()
        yield
        if self._mark is not None:
            self._mark = (self._mark[0] + time.monotonic() - start, self._mark[1])

    def train(
        self,
        step: int,
        metrics: Mapping[str, Any],
        images: int,
        flops: float | None = None,
        waited: float = 0.0,
    ) -> None:
        """Metrics of the steps since the last call.

        Args:
          step: steps made.
          metrics: numbers by name.
          images: that the steps used.
          flops: that the steps took, all devices together; None = not known.
          waited: seconds spent waiting for their batches.
        """
        now, (then, last) = time.monotonic(), self._mark or (time.monotonic(), step)
        self._mark = (now, step)
        seconds = max(now - then, 1e-9)
        values = {name: float(value) for name, value in metrics.items()}
        values["images_per_second"] = images / seconds
        values["seconds_per_step"] = seconds / max(step - last, 1)
        values["waiting_for_data"] = min(waited / seconds, 1.0)
        if flops and self._peak:
            values["mfu"] = flops / seconds / (self._peak * jax.device_count())
        self._send(lambda sink: sink.train(step, values))

    def evaluation(self, step: int, answers: Mapping[str, Mapping[str, float]]) -> None:
        """Held-out metrics after `step` steps by the name of the answer, the main one first."""
        self._send(lambda sink: sink.evaluation(step, answers))

    def picture(self, step: int, image: UInt8[np.ndarray, "h w 3"]) -> Path:
        """Save a picture as `pictures/step_N.png` and send it; returns the file."""
        path = self.directory / "pictures" / f"step_{step}.png"
        if self._sinks:
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(path)
        self._send(lambda sink: sink.picture(step, image, path))
        return path

    def _send(self, message: Callable[[Sink], None]) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                message(sink)
            except Exception as error:
                if name not in OPTIONAL:
                    raise
                del self._sinks[name]
                self.say(left_out(name, error))
