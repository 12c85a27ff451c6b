"""A line per report: plain where it is read by programs, coloured and with a bar on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from zipmap_jax.train.log.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = ("loss", "lr")
"""Shown besides the parts of the objective; counters and norms stay in the file."""
STARVED = 0.05
"""Share of the time spent waiting for batches above which a line shows it."""
HELD_OUT = ("AbsRel", "delta<1.25", "RRA@30", "RTA@30", "AUC@30", "PSNR")
"""Held-out metrics on the console, where an evaluation has them; all of an evaluation without."""


def console_sink(steps: int, console: TextIO | None = None) -> Sink:
    """Lines on `console` (None = standard output), coloured and with a bar if it is a terminal."""
    stream = console or sys.stdout
    return TerminalConsole(steps, stream) if stream.isatty() else PlainConsole(steps, stream)


class PlainConsole(Sink):
    """One line of text per report.

    Args:
      steps: length of the run.
      stream: where lines go.
    """

    def __init__(self, steps: int, stream: TextIO) -> None:
        self._steps, self._stream = steps, stream

    def train(self, step: int, values: Mapping[str, float]) -> None:
        head, parts, speed = train_line(step, self._steps, values)
        self.text(f"{head} {parts} | {speed}")

    def evaluation(self, step: int, answers: Mapping[str, Mapping[str, float]]) -> None:
        self.text(": ".join(evaluation_line(step, answers)))

    def text(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class TerminalConsole(Sink):
    """The same lines in colour, above a bar that shows how far the run has come.

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

    def evaluation(self, step: int, answers: Mapping[str, Mapping[str, float]]) -> None:
        from rich.text import Text

        head, numbers = evaluation_line(step, answers)
        line = Text.assemble((f"{head}: ", "bold magenta"), numbers)
        line.highlight_regex(r"\([^)]*\)", "dim")
        self._bar.console.print(line)

    def text(self, text: str) -> None:
        self._bar.console.print(text, markup=False)

    def close(self) -> None:
        self._bar.stop()


def train_line(step: int, steps: int, values: Mapping[str, float]) -> tuple[str, str, str]:
    """Step, metrics and speed."""
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


def evaluation_line(step: int, answers: Mapping[str, Mapping[str, float]]) -> tuple[str, str]:
    """Title, and metrics of the first answer with those of the others in brackets."""
    first, *others = answers.values()
    names = [name for name in HELD_OUT if name in first] or list(first)
    numbers = (
        f"{name} {first[name]:.3g}"
        + (f" ({', '.join(f'{other[name]:.3g}' for other in others)})" if others else "")
        for name in names
    )
    brackets = f", {', '.join(list(answers)[1:])} in brackets" if others else ""
    return f"step {step} held out{brackets}", ", ".join(numbers)


def clock(seconds: float) -> str:
    """`h:mm:ss`."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
