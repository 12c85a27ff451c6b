"""Scheduler of the GPU measurements, for a few minutes of a GPU.

Every item runs in its own process under a time limit, so a hang, a crash or a lack of memory
affects one item only, and each item starts with an empty device. Items save partial results,
and the suite writes a summary after every item. A second run in the same folder skips complete
items and resumes the others.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zipmap_jax.errors import UserError
from zipmap_jax.files import write_json

_GRACE = 10.0
_MIN_SECONDS = 5.0
_REPORT_LINES = 3


@dataclasses.dataclass(frozen=True)
class Item:
    """One item of the suite.

    Attributes:
      seconds: time limit, reduced to the time left of the suite.
      command: command in place of the item's function; "{out}" is its file, "{seconds}" the time
        after which no further part should start.
      needs: module without which the item is skipped.
    """

    seconds: float
    command: tuple[str, ...] = ()
    needs: str = ""


# Quick items that validate the others come first.
ITEMS: Mapping[str, Item] = {
    "machine": Item(40),
    "attention": Item(60),
    "kernels": Item(
        150,
        ("-m", "pallas_kernels.bench", "--json", "{out}", "--seconds", "{seconds}", "--resume"),
        needs="pallas_kernels.bench",
    ),
    "goldens": Item(110),
    "runtime": Item(260),
    "reconstruction": Item(120),
    "training": Item(60),
}


@dataclasses.dataclass(frozen=True)
class SuiteConfig:
    """Configuration of the suite.

    Attributes:
      out: folder for all files.
      minutes: time limit for all items together.
      preset, size: model and image size of the items `runtime` and `reconstruction`.
      views: numbers of views of `runtime`, in this order; `reconstruction` uses some of them.
      golden: folder of recorded tensors.
      items: names of the items to run.
    """

    out: Path
    minutes: float = 9.0
    preset: str = "large"
    size: tuple[int, int] = (392, 518)
    views: tuple[int, ...] = (5, 50, 200, 750, 1500, 3000, 5000, 10, 25, 100, 300, 400, 500)
    golden: Path = Path("tests/golden")
    items: tuple[str, ...] = tuple(ITEMS)

    def __post_init__(self) -> None:
        unknown = [name for name in self.items if name not in ITEMS]
        if unknown:
            raise UserError(f"unknown items {', '.join(unknown)}: choose from {', '.join(ITEMS)}")
        if not self.minutes > 0:  # refuses NaN as well
            raise UserError(f"--minutes must be positive, got {self.minutes:g}: try 9")

    def file(self, item: str) -> Path:
        return self.out / f"{item}.json"


def run_suite(config: SuiteConfig, child: tuple[str, ...], report: Callable[[str], None]) -> bool:
    """Run the items one after another and return whether all are complete.

    Args:
      config: configuration of the suite.
      child: command that runs one item, with "--only NAME --seconds N" appended.
      report: called with the outcome of each item.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    _require_same(config)
    end = time.monotonic() + 60 * config.minutes
    summary: dict[str, Any] = {}
    for name in config.items:
        outcome = _run_item(name, config, child, end - time.monotonic())
        summary[name] = outcome
        report(f"{name}: {outcome['status']} ({outcome['seconds']:.0f} s)")
        write_json(config.out / "suite.json", summary)
    return all(outcome["status"].startswith("done") for outcome in summary.values())


def _require_same(config: SuiteConfig) -> None:
    """Raise UserError if the folder has measurements of another model or size."""
    current = {"preset": config.preset, "size": list(config.size)}
    file = config.out / "suite_config.json"
    try:
        earlier = json.loads(file.read_text("utf-8")) if file.exists() else current
    except ValueError as error:  # of JSON or UTF-8
        raise UserError(f"{file} is damaged ({error}): choose another folder") from error
    if earlier != current:
        raise UserError(f"{config.out} holds measurements of {earlier}: choose another folder")
    write_json(file, current)


def _run_item(
    name: str, config: SuiteConfig, child: tuple[str, ...], left: float
) -> dict[str, Any]:
    """Run an item and return its status, its seconds, and the end of its log if it failed."""
    item, start = ITEMS[name], time.monotonic()
    status, tail = _reason_to_skip(name, config, left), []
    if not status:
        seconds = min(item.seconds, left - _GRACE)
        command = [*child, "--only", name, "--seconds", f"{seconds:.0f}"]
        if item.command:
            file = str(config.file(name))
            command = [
                sys.executable,
                *(p.format(out=file, seconds=int(seconds)) for p in item.command),
            ]
        log = config.out / f"{name}.log"
        status = _execute(command, log, seconds + _GRACE)
        tail = [] if status == "done" else _last_lines(log)
        if status == "done" and not _is_complete(config.file(name)):
            status = "stopped at the time limit; the same command resumes it"
    return {"status": status, "seconds": time.monotonic() - start, "log": tail}


def _reason_to_skip(name: str, config: SuiteConfig, left: float) -> str:
    """Reason to skip an item, or an empty string."""
    if config.file(name).exists() and _is_complete(config.file(name)):
        return "done before"
    if left < _GRACE + _MIN_SECONDS:
        return "skipped: no time left"
    if (needed := ITEMS[name].needs) and not _exists(needed):
        return f"skipped: this tree has no {needed}"
    return ""


def _exists(module: str) -> bool:
    """Whether a module exists, without importing it."""
    base = Path(__file__).parents[2] / Path(*module.split("."))
    return base.with_suffix(".py").exists() or (base / "__main__.py").exists()


def _execute(command: list[str], log: Path, seconds: float) -> str:
    """Run a command with its output in a file, and return its status."""
    # JAX reserves 75 % of a GPU's memory by default; no other process runs here.
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95", "PYTHONUNBUFFERED": "1", **os.environ}
    with log.open("w", encoding="utf-8") as file:
        try:
            # A process group, so that child processes end as well and free the device.
            process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return f"failed: {error}"
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"stopped after {seconds:.0f} s, the limit"
        except BaseException:  # an interrupt
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return "done" if code == 0 else f"failed with exit code {code}"


def _is_complete(file: Path) -> bool:
    """Whether the file of an item is complete; lists of other programs always are."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return not isinstance(content, dict) or bool(content.get("complete", True))


def _last_lines(log: Path) -> list[str]:
    return log.read_text("utf-8", errors="replace").strip().splitlines()[-_REPORT_LINES:]
