"""Metrics as lines of text; on a terminal with colours and a progress bar."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from zipmap_jax.train.log.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = ("loss", "lr")
"""Metrics shown besides the parts of the objective."""
STARVED = 0.05
"""Share of the time spent waiting for batches above which a line shows it."""
HELD_OUT = ("AbsRel", "delta<1.25", "RRA@30", "RTA@30", "AUC@30", "PSNR")
"""Held-out metrics shown; if an evaluation has none of them, all its metrics are."""


def console_sink(steps: int, console: TextIO | None = None) -> Sink:
    """Return the sink for `console` (None = standard output): a terminal's or a plain one."""
    stream = console or sys.stdout
    return TerminalConsole(steps, stream) if stream.isatty() else PlainConsole(steps, stream)


class PlainConsole(Sink):
    """One line of plain text per report.

    Args:
      steps: length of the run.
      stream: destination.
    """

    def __init__(self, steps: int, stream: TextIO) -> None:
        self._steps, self._stream = steps, stream

    def train(self, step: int, values: Mapping[str, float]) -> None:
        head, parts, speed = train_line(step, self._steps, values)
        self.text(f"{head} {parts} | {speed}")

    def evaluation(self, step: int, methods: Mapping[str, Mapping[str, float]]) -> None:
        self.text(": ".join(evaluation_line(step, methods)))

    def text(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class TerminalConsole(Sink):
    """The lines of `PlainConsole` in colour, above a progress bar.

    Args:
      steps: length of the run.
      stream: a terminal.
    """

    def __init__(self, steps: int, stream: TextIO) -> None:
        from rich import progress
        from rich.console import Console

        self._steps = steps
        self._bar = progress.Progress(
            progress.TextColumn("[bold]step"),
            progress.MofNCompleteColumn(),
            progress.BarColumn(bar_width=None),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[speed]}", style="cyan"),
            console=Console(file=stream, highlight=False),
            expand=True,
        )
        self._task = self._bar.add_task("train", total=steps, speed="")
        self._bar.start()

    def train(self, step: int, values: Mapping[str, float]) -> None:
        from rich.text import Text

        head, parts, speed = train_line(step, self._steps, values)
        line = Text.assemble((f"{head} ", "bold"), parts, (f" | {speed}", "dim"))
        line.highlight_regex(r"\bloss [^ ]+", "bold green")
        line.highlight_regex(r"\bskipped [^ ]+", "bold red")
        self._bar.console.print(line)
        self._bar.update(self._task, completed=step, speed=speed)

    def evaluation(self, step: int, methods: Mapping[str, Mapping[str, float]]) -> None:
        from rich.text import Text

        head, numbers = evaluation_line(step, methods)
        line = Text.assemble((f"{head}: ", "bold magenta"), numbers)
        line.highlight_regex(r"\([^)]*\)", "dim")
        self._bar.console.print(line)

    def text(self, text: str) -> None:
        self._bar.console.print(text, markup=False)

    def close(self) -> None:
        self._bar.stop()


def train_line(step: int, steps: int, values: Mapping[str, float]) -> tuple[str, str, str]:
    """Return the step, the metrics and the speed as text."""
    parts = " ".join(
        f"{name} {value:.4g}"
        for name, value in values.items()
        if name in SHOWN or (name.startswith("loss_") and name != "loss_objective")
    )
    skipped = f" skipped {values['skipped']:.0f}" if values.get("skipped") else ""
    mfu = f"MFU {values['mfu']:.1%}, " if "mfu" in values else ""
    left = clock(values["seconds_per_step"] * (steps - step))
    waiting = values.get("waiting_for_data", 0.0)
    starved = f"{waiting:.0%} waiting for data, " if waiting > STARVED else ""
    speed = f"{values['images_per_second']:.1f} images/s, {starved}{mfu}{left} left"
    return f"step {step}/{steps}", parts + skipped, speed


def evaluation_line(step: int, methods: Mapping[str, Mapping[str, float]]) -> tuple[str, str]:
    """Return the title, and the metrics of the first method with the others' in brackets."""
    first, *others = methods.values()
    names = [name for name in HELD_OUT if name in first] or list(first)
    numbers = (
        f"{name} {first[name]:.3g}"
        + (f" ({', '.join(f'{other[name]:.3g}' for other in others)})" if others else "")
        for name in names
    )
    brackets = f", {', '.join(list(methods)[1:])} in brackets" if others else ""
    return f"step {step} held out{brackets}", ", ".join(numbers)


def clock(seconds: float) -> str:
    """Format a duration as `h:mm:ss`."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
