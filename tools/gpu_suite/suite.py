"""All measurements that want a GPU, in the few minutes that there may be of one.

Every item runs in a process of its own, under a time limit: what hangs, dies or fills the memory
costs its own item only, and each starts with an empty device. Items write what they have as they
go; the summary is written after every item. Started again on the same folder, items that are done
are not repeated, and others keep what they have measured.
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
_LEAST = 5.0
_REPORT_LINES = 3


@dataclasses.dataclass(frozen=True)
class Item:
    """One item of the suite.

    Attributes:
      seconds: it may take at most; less when the suite's time is almost up.
      command: in place of the item's own function; "{out}" is the file it writes, "{seconds}" the
        time after which it should begin nothing more.
      needs: module without which it is left out.
    """

    seconds: float
    command: tuple[str, ...] = ()
    needs: str = ""


# What is quick and decides whether the rest means anything comes first.
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
    """Where and on what the suite runs.

    Attributes:
      out: folder for everything that is written.
      minutes: for all items together.
      preset, size: of the items `runtime` and `reconstruction`.
      views: of `runtime`, in this order; `reconstruction` takes some of them, rising.
      golden: folder of recorded arrays.
      items: names of those to run.
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


def run_suite(config: SuiteConfig, child: tuple[str, ...], say: Callable[[str], None]) -> bool:
    """Run the items one after another; True if all of them are done.

    Args:
      config: what to run.
      child: command that runs one item, to which "--only NAME --seconds N" is added.
      say: told how each item went.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    _require_same(config)
    end = time.monotonic() + 60 * config.minutes
    summary: dict[str, Any] = {}
    for name in config.items:
        outcome = _run_item(name, config, child, end - time.monotonic())
        summary[name] = outcome
        say(f"{name}: {outcome['status']} ({outcome['seconds']:.0f} s)")
        write_json(config.out / "suite.json", summary)
    return all(outcome["status"].startswith("done") for outcome in summary.values())


def _require_same(config: SuiteConfig) -> None:
    """Refuse to go on in the folder of a rehearsal.

    Raises:
      UserError: the folder has measurements of something else.
    """
    what = {"preset": config.preset, "size": list(config.size)}
    file = config.out / "suite_config.json"
    try:
        before = json.loads(file.read_text("utf-8")) if file.exists() else what
    except ValueError as error:  # of JSON or UTF-8
        raise UserError(f"{file} is damaged ({error}): choose another folder") from error
    if before != what:
        raise UserError(f"{config.out} holds measurements of {before}: choose another folder")
    write_json(file, what)


def _run_item(
    name: str, config: SuiteConfig, child: tuple[str, ...], left: float
) -> dict[str, Any]:
    """What became of an item: its status, its seconds, and the end of its log if it failed."""
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
            status = "stopped when its time was up; the same command goes on from there"
    return {"status": status, "seconds": time.monotonic() - start, "log": tail}


def _reason_to_skip(name: str, config: SuiteConfig, left: float) -> str:
    """Why not to start an item; empty if there is no reason."""
    if config.file(name).exists() and _is_complete(config.file(name)):
        return "done before"
    if left < _GRACE + _LEAST:
        return "skipped: no time left"
    if (needed := ITEMS[name].needs) and not _exists(needed):
        return f"skipped: there is no {needed} in this tree"
    return ""


def _exists(module: str) -> bool:
    """Whether a module is there, asked without importing what it imports."""
    base = Path(__file__).parents[2] / Path(*module.split("."))
    return base.with_suffix(".py").exists() or (base / "__main__.py").exists()


def _execute(command: list[str], log: Path, seconds: float) -> str:
    """Run a command, its output to a file."""
    # The library takes 75 % of a GPU's memory unless told; nothing else runs here.
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95", "PYTHONUNBUFFERED": "1", **os.environ}
    with log.open("w", encoding="utf-8") as file:
        try:
            # A group of its own, so that what it has started ends with it and frees the device.
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
            return f"ended after {seconds:.0f} s, the limit"
        except BaseException:  # an interrupt
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return "done" if code == 0 else f"failed with exit code {code}"


def _is_complete(file: Path) -> bool:
    """Whether an item has written that it is done; other programs' files count as they are."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return not isinstance(content, dict) or bool(content.get("complete", True))


def _last_lines(log: Path) -> list[str]:
    return log.read_text("utf-8", errors="replace").strip().splitlines()[-_REPORT_LINES:]
