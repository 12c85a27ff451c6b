"""Progress on stderr with the time left: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

    from zipmap_jax.structs import Progress

PLAIN_LINE_EVERY = 10.0
"""Seconds between two plain lines of a stage, except for its first and last line."""


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """A callable `(stage, done, total)` that displays progress."""
    if sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield PlainLines()


@contextlib.contextmanager
def _bars() -> Iterator[Progress]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description:<24}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with bars.Progress(*columns, console=Console(stderr=True)) as display:

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = display.add_task(stage, total=total)
            display.update(tasks[stage], completed=done, total=total)

        yield report


class PlainLines:
    """Prints the first and last step of a stage, and a line every `PLAIN_LINE_EVERY` seconds."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._printed: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        first = stage not in self._started
        started = self._started.setdefault(stage, now)
        if first or done >= total or now - self._printed[stage] >= PLAIN_LINE_EVERY:
            self._printed[stage] = now
            print(_line(stage, done, total, now - started), file=sys.stderr, flush=True)


def _line(stage: str, done: int, total: int, elapsed: float) -> str:
    line = f"{stage}: {done}/{total}"
    if done >= total:
        return f"{line}, {elapsed:.1f} s"
    if done and elapsed > 0:
        return f"{line}, about {elapsed / done * (total - done):.0f} s left"
    return line
