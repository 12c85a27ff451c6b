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
from zipmap_jax.files import replacing
from zipmap_jax.train.config.schema import LogConfig
from zipmap_jax.train.log.sinks import OPTIONAL, failure, writers_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    import numpy as np
    from jaxtyping import UInt8

    from zipmap_jax.train.log.sink import Sink

_DEFAULT = LogConfig()


class Writer:
    """All writers of a run; use as a context manager.

    An optional writer that fails is switched off, and the others get a message.

    Args:
      directory: work directory.
      steps: length of the run, from which the remaining time is estimated.
      log: names of the writers.
      console: destination of lines; None = standard output.

    Raises:
      UserError: a writer is unknown, or its package is not installed.
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
            self.text(line)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._send(lambda sink: sink.close())

    def text(self, text: str) -> None:
        """Write one line."""
        self._send(lambda sink: sink.text(text))

    def start_clock(self, step: int) -> None:
        """Start to measure speed; call it before the first step."""
        self._mark = (time.monotonic(), step)

    @contextlib.contextmanager
    def paused(self, after: Any = None) -> Iterator[None]:
        """Exclude the time of the block from the measured speed.

        Args:
          after: output of the last step; the pause begins once it is computed.
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
        """Write metrics of the steps since the last call, and their speed.

        Args:
          step: number of completed steps.
          metrics: numbers by name.
          images: number of images in the steps.
          flops: floating-point operations of the steps on all devices; None = unknown.
          waited: seconds spent waiting for batches.
        """
        now, (before, last) = time.monotonic(), self._mark or (time.monotonic(), step)
        self._mark = (now, step)
        seconds = max(now - before, 1e-9)
        values = {name: float(value) for name, value in metrics.items()}
        values["images_per_second"] = images / seconds
        values["seconds_per_step"] = seconds / max(step - last, 1)
        values["waiting_for_data"] = min(waited / seconds, 1.0)
        if flops and self._peak:
            values["mfu"] = flops / seconds / (self._peak * jax.device_count())
        self._send(lambda sink: sink.train(step, values))

    def evaluation(self, step: int, methods: Mapping[str, Mapping[str, float]]) -> None:
        """Write held-out metrics after `step` steps by method, the main one first."""
        self._send(lambda sink: sink.evaluation(step, methods))

    def picture(self, step: int, image: UInt8[np.ndarray, "h w 3"]) -> Path:
        """Write a picture; returns its file, `pictures/step_N.png`."""
        path = self.directory / "pictures" / f"step_{step}.png"
        if self._sinks:
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as part:
                Image.fromarray(image).save(part, format="PNG")
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
                self.text(failure(name, error))
