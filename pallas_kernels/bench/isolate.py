"""Measurement in a worker process, which is replaced when a case crashes it."""

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

Reports = Generator[dict[str, Any], None, None]

NOT_STARTED = "not started: out of time"
"""The "failure" of a case that the deadline excluded."""
ROW_SECONDS = 120.0
"""Time limit of a case, compilation included."""


def describe(samples: int, seconds: float = ROW_SECONDS) -> dict[str, Any]:
    """Description of the device, with its matmul rate.

    Args:
      samples: timed samples.
      seconds: time limit.

    Returns:
      The entries of `worker.describe`.

    Raises:
      RuntimeError: the device cannot be used.
    """
    for figures in _reports([], samples, seconds):
        if "failure" not in figures:
            return figures
        raise RuntimeError(f"the device cannot be measured: {figures['failure']}")
    raise AssertionError("a worker reports figures or a failure")


def run_all(
    cases: list[Case], samples: int, deadline: float, seconds: float = ROW_SECONDS
) -> Iterator[tuple[Case, dict[str, Any]]]:
    """Measures cases one after another.

    Args:
      cases: the cases.
      samples: timed samples per case.
      deadline: `time.monotonic()` after which no case starts.
      seconds: time limit of a case, after which its process is killed.

    Yields:
      Each case with its figures, or with its "failure".
    """
    remaining = list(cases)
    while remaining and time.monotonic() < deadline:
        reports = _reports([dataclasses.asdict(c) for c in remaining], samples, seconds)
        with contextlib.closing(reports):
            for figures in reports:
                yield remaining.pop(0), figures
                if time.monotonic() >= deadline:
                    break
    for case in remaining:
        yield case, {"failure": NOT_STARTED}


def _reports(cases: list[Any], samples: int, seconds: float) -> Reports:
    """Reports of one worker; the last one is a failure if the worker ends early."""
    command = [sys.executable, "-m", "pallas_kernels.bench.worker", str(samples)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        try:
            assert worker.stdin
            assert worker.stdout
            assert worker.stderr
            output, log = _lines(worker.stdout, "{"), _lines(worker.stderr)
            worker.stdin.write(json.dumps(cases))
            worker.stdin.close()
            for _ in range(max(1, len(cases))):
                try:
                    line = output.get(timeout=seconds)
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
    """Queue of the lines of a stream that begin with `start`, closed by None."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            if line.startswith(start):
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _last(log: queue.Queue[str | None]) -> str:
    """The last line of a stream, after its end."""
    last = "without a message"
    with contextlib.suppress(queue.Empty):
        while (line := log.get(timeout=10)) is not None:
            last = line.strip() or last
    return last[:300]
