"""What has been done, on disk: a line a scene, from which `manifest.json` is made.

`OUT/.batch` holds the settings of the run and a journal per process. The truth is in the folders:
a scene's folder gets its name in one step when it is complete, so whatever kills a process, at most
the scenes it was working on are done again.
"""

from __future__ import annotations

import dataclasses
import datetime
import errno
import json
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from zipmap_jax.batch.scenes import SceneInput
from zipmap_jax.config_io import from_json
from zipmap_jax.errors import UserError
from zipmap_jax.files import dumps, write_json

HIDDEN, SETTINGS, MANIFEST = ".batch", "settings.json", "manifest.json"
FORMAT = 1
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclasses.dataclass(frozen=True)
class Record:
    """How one scene ended.

    Attributes:
      name: of the scene.
      status: "done" or "failed".
      views: that were reconstructed; None if unknown.
      seconds: of reading, its share of computing, and writing.
      error: why it failed.
      warnings: what was said about it.
      bucket: views, height and width of its program.
      time: when, in UTC.
      process: that did it, "i/n".
    """

    name: str
    status: Literal["done", "failed"]
    views: int | None = None
    seconds: float | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    bucket: tuple[int, int, int] | None = None
    time: str = ""
    process: str = ""


class Journal:
    """The records of one process, and of all others that wrote to the same folder."""

    def __init__(self, out: Path, process: tuple[int, int] = (0, 1)) -> None:
        self.out = out
        self.process = "{}/{}".format(*process)
        self._hidden = out / HIDDEN
        stem = "{}-of-{}".format(*process)
        self._file = self._hidden / f"{stem}.jsonl"
        self.working = self._hidden / f"{stem}.working"
        self._lock = threading.Lock()
        self._held: FileLock | None = None

    def open(self, settings: Mapping[str, Any]) -> None:
        """Begin or resume a run, and clear away what a killed one was working on.

        Args:
          settings: what the results depend on, as JSON values.

        Raises:
          UserError: the folder belongs to something else, or was begun with other settings.
        """
        path = self._hidden / SETTINGS
        if path.exists():
            self._compare(_read_settings(path), settings)
        elif self.out.exists() and (not self.out.is_dir() or any(self._foreign())):
            raise UserError(
                f"{self.out} exists and is not the folder of an earlier batch: choose another name"
            )
        self._hidden.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_json(path, dict(settings))
        self._held = _lock(self._file.with_suffix(".lock"), self.process)
        shutil.rmtree(self.working, ignore_errors=True)
        self.working.mkdir()

    def close(self) -> None:
        """Clear away the place for unfinished work."""
        shutil.rmtree(self.working, ignore_errors=True)
        if self._held:
            self._held.release()

    def finished(self, name: str) -> bool:
        """Whether the scene's folder is there, which means that it is complete.

        Raises:
          UserError: something else has its name.
        """
        folder = self.out / name
        if not folder.exists():
            return False
        if not (folder / "README.txt").is_file():
            raise UserError(f"{folder} exists and is not a reconstruction: move it away")
        return True

    def publish(self, name: str) -> None:
        """Give a complete folder in `working` its final name."""
        (self.working / name).rename(self.out / name)

    def write(self, record: Record) -> None:
        """Add a line; a line that a killed process left unfinished is closed first."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        record = dataclasses.replace(record, time=now, process=self.process)
        line = dumps(dataclasses.asdict(record)).encode() + b"\n"
        with self._lock, self._file.open("a+b") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)

    def read(self) -> dict[str, Record]:
        """The latest record of every scene, of all processes."""
        latest: dict[str, Record] = {}
        for path in sorted(self._hidden.glob("*.jsonl")):
            for line in path.read_text("utf-8", errors="replace").splitlines():
                record = _parse(line)
                if record and (
                    record.name not in latest or latest[record.name].time <= record.time
                ):
                    latest[record.name] = record
        return latest

    def write_manifest(
        self,
        folder: Path,
        scenes: Sequence[SceneInput],
        settings: Mapping[str, Any],
        *,
        settle: bool = True,
    ) -> dict[str, Any]:
        """Write `manifest.json` of all processes; returns its contents.

        Processes that end together may each miss the other's last record: whoever sees that the
        journals grew meanwhile writes again, unless `settle` is False.
        """
        while True:
            records = self.read()
            manifest = _manifest(folder, scenes, settings, records)
            write_json(self.out / MANIFEST, manifest)
            if not settle or self.read() == records:
                return manifest

    def _compare(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        for name, value in now.items():
            if before.get(name) != value:
                plain = name in ("scenes", "weights")
                flag = name if plain else "--" + name.replace("_", "-")
                raise UserError(
                    f"{self.out} was begun with {flag} {before.get(name)}, not {value}: choose "
                    "another folder, or the same settings"
                )

    def _foreign(self) -> list[Path]:
        return [path for path in self.out.iterdir() if path.name != HIDDEN]


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text("utf-8"))
    except ValueError as error:  # of JSON or UTF-8
        raise UserError(
            f"{path} is damaged ({error}): choose another folder, or delete that file to continue"
        ) from error
    if not isinstance(settings, dict):
        raise UserError(
            f"{path} must hold a JSON object, got {type(settings).__name__}: choose another "
            "folder, or delete that file to continue"
        )
    return settings


def _manifest(
    folder: Path,
    scenes: Sequence[SceneInput],
    settings: Mapping[str, Any],
    records: Mapping[str, Record],
) -> dict[str, Any]:
    rows = []
    for scene in scenes:
        record = records.get(scene.name)
        row = dataclasses.asdict(record) if record else {"name": scene.name, "status": "waiting"}
        rows.append({**row, "input": scene.path.name})
    counts = {
        status: sum(row["status"] == status for row in rows)
        for status in ("done", "failed", "waiting")
    }
    return {
        "format": FORMAT,
        "input": str(folder),
        "settings": dict(settings),
        **counts,
        "scenes": rows,
    }


def _parse(line: str) -> Record | None:
    """A record; None for a line that a killed process left unfinished."""
    try:
        return from_json(Record, json.loads(line))
    except ValueError:
        return None


def _lock(path: Path, process: str) -> FileLock | None:
    """A lock that no second process may hold; None on a file system without locks.

    The operating system releases it however the process ends.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another zipmap batch works in {path.parent.parent} as process {process}: wait for "
            "it, or give each its own --process i/n"
        ) from None
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return lock
