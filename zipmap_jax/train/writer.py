"""Where metrics go: a line on the console, an object per line in a file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from zipmap_jax.plain_json import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

CONSOLE = ("loss", "lr")
"""Shown besides the parts of the objective; counters and norms stay in the file."""


class Writer:
    """Console and `metrics.jsonl` of one run; use as a context manager.

    Args:
      directory: work directory; the file is appended to, so that a resumed run continues it.
      steps: length of the run, for the estimate of the time left.
      console: where lines go; None = standard output.
    """

    def __init__(self, directory: str | Path, steps: int, console: TextIO | None = None) -> None:
        self.path = Path(directory) / "metrics.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a", encoding="utf-8")
        self._console = console
        self._steps = steps
        self._mark: tuple[float, int] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def say(self, text: str) -> None:
        """One line on the console."""
        print(text, file=self._console or sys.stdout, flush=True)

    def start_clock(self, step: int) -> None:
        """Measure speed from here; call it before the first step."""
        self._mark = (time.monotonic(), step)

    def train(self, step: int, metrics: Mapping[str, Any], images: int) -> None:
        """Metrics of the steps since the last call, `step` being made; they used `images`."""
        values = {name: float(value) for name, value in metrics.items()}
        now, (then, last) = time.monotonic(), self._mark or (time.monotonic(), step)
        seconds = max(now - then, 1e-9)
        per_step = seconds / max(step - last, 1)
        self._mark = (now, step)
        values |= {"images_per_second": images / seconds, "seconds_per_step": per_step}
        self._record("train", step, values)
        parts = " ".join(
            f"{name} {value:.4g}"
            for name, value in values.items()
            if name in CONSOLE or (name.startswith("loss_") and name != "loss_objective")
        )
        left = _clock(per_step * (self._steps - step))
        skipped = f" skipped {values['skipped']:.0f}" if values.get("skipped") else ""
        self.say(
            f"step {step}/{self._steps} {parts}{skipped} | "
            f"{values['images_per_second']:.1f} images/s, {left} left"
        )

    def evaluation(self, step: int, numbers: Mapping[str, Mapping[str, float]]) -> None:
        """Held-out metrics after `step` steps, of the model and (in brackets) other answers."""
        self._record("eval", step, numbers)
        model, *others = numbers.values()
        shown = (
            f"{name} {value:.3g}" + "".join(f" ({other[name]:.3g})" for other in others)
            for name, value in model.items()
        )
        self.say(f"step {step} held out, trivial in brackets: {', '.join(shown)}")

    def _record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        row = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        self._file.write(dumps(row) + "\n")
        self._file.flush()


def _clock(seconds: float) -> str:
    """`h:mm:ss`."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
