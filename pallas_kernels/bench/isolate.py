"""Run cases in a process of their own, and go on when one of them takes it down."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from typing import IO, Any

from pallas_kernels.bench.cases import Case

Answers = Generator[dict[str, Any], None, None]

NOT_STARTED = "not started: out of time"
ROW_SECONDS = 120.0
"""A case that takes longer, compilation included, hangs."""


def describe(samples: int, seconds: float = ROW_SECONDS) -> dict[str, Any]:
    """The device and its matmul rate.

    Raises:
      RuntimeError: the device could not be used at all.
    """
    for figures in _answers([], samples, seconds):
        if "failure" not in figures:
            return figures
        raise RuntimeError(f"the device cannot be measured: {figures['failure']}")
    raise AssertionError("a worker answers or fails")


def run_all(
    cases: list[Case], samples: int, deadline: float, seconds: float = ROW_SECONDS
) -> Iterator[tuple[Case, dict[str, Any]]]:
    """Figures of every case in turn; a "failure" is one of them.

    Args:
      cases: what to measure.
      samples: timed samples of each.
      deadline: `time.monotonic()` after which no case starts.
      seconds: for one case, before its process is ended.
    """
    left = list(cases)
    while left and time.monotonic() < deadline:
        answers = _answers([dataclasses.asdict(c) for c in left], samples, seconds)
        with contextlib.closing(answers):
            for figures in answers:
                yield left.pop(0), figures
                if time.monotonic() >= deadline:
                    break
    for case in left:
        yield case, {"failure": NOT_STARTED}


def _answers(cases: list[Any], samples: int, seconds: float) -> Answers:
    """Lines of one worker. Ends early, after a failure, when the worker does."""
    command = [sys.executable, "-m", "pallas_kernels.bench.worker", str(samples)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        try:
            assert worker.stdin
            assert worker.stdout
            assert worker.stderr
            said, log = _lines(worker.stdout, "{"), _lines(worker.stderr)
            worker.stdin.write(json.dumps(cases))
            worker.stdin.close()
            for _ in range(max(1, len(cases))):
                try:
                    line = said.get(timeout=seconds)
                except queue.Empty:
                    yield {"failure": f"hung for {seconds:.0f} s"}
                    return
                if line is None:
                    yield {"failure": f"the process died: {_last(log)}"}
                    return
                figures = json.loads(line)
                yield figures
                if figures.get("failure", "").startswith("JaxRuntimeError"):
                    return
        finally:
            worker.kill()


def _lines(stream: IO[str], start: str = "") -> queue.Queue[str | None]:
    """Lines of a stream that begin with `start`, as they come, then None."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            if line.startswith(start):
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _last(log: queue.Queue[str | None]) -> str:
    """The last line written, once the stream has ended."""
    last = "without a word"
    with contextlib.suppress(queue.Empty):
        while (line := log.get(timeout=10)) is not None:
            last = line.strip() or last
    return last[:300]
