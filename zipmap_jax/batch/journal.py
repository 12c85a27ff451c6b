"""Journals of a batch: one record per scene, and the `manifest.json` made from them.

`OUT/.batch` holds the settings of the run and one journal per process. A complete scene's folder
gets its final name in one step, so a killed process repeats at most the scenes in progress.
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
    """Outcome of one scene.

    Attributes:
      name: name of the scene.
      status: "done" or "failed".
      views: number of reconstructed views; None if unknown.
      seconds: time of reading, writing, and the scene's share of computing.
      error: reason of a failure.
      warnings: warnings about the scene.
      bucket: views, height and width of the program.
      time: UTC time of the record.
      process: process that wrote the record, "i/n".
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
    """Writes the records of one process, and reads those of all processes of a folder."""

    def __init__(self, out: Path, process: tuple[int, int] = (0, 1)) -> None:
        self.out = out
        self.process = "{}/{}".format(*process)
        self._hidden = out / HIDDEN
        stem = "{}-of-{}".format(*process)
        self._file = self._hidden / f"{stem}.jsonl"
        self.working = self._hidden / f"{stem}.working"
        self._lock = threading.Lock()
        self._folder_lock: FileLock | None = None

    def open(self, settings: Mapping[str, Any]) -> None:
        """Start or resume a run, and delete the unfinished work of a killed one.

        Args:
          settings: settings that affect the results, as JSON values.

        Raises:
          UserError: the folder is not of a batch, or has other settings or another process.
        """
        path = self._hidden / SETTINGS
        if path.exists():
            self._require_same(_read_settings(path), settings)
        elif self.out.exists() and (
            not self.out.is_dir() or any(path.name != HIDDEN for path in self.out.iterdir())
        ):
            raise UserError(
                f"{self.out} exists and is not the folder of an earlier batch: choose another name"
            )
        self._hidden.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_json(path, dict(settings))
        self._folder_lock = _lock(self._file.with_suffix(".lock"), self.process)
        shutil.rmtree(self.working, ignore_errors=True)
        self.working.mkdir()

    def close(self) -> None:
        """Delete the folder for unfinished work and release the lock."""
        shutil.rmtree(self.working, ignore_errors=True)
        if self._folder_lock:
            self._folder_lock.release()

    def finished(self, name: str) -> bool:
        """Whether the scene's folder exists, and therefore is complete.

        Raises:
          UserError: the path exists and is not a reconstruction.
        """
        folder = self.out / name
        if not folder.exists():
            return False
        if not (folder / "README.txt").is_file():
            raise UserError(f"{folder} exists and is not a reconstruction: move it away")
        return True

    def publish(self, name: str) -> None:
        """Move a complete folder from `working` to its final path."""
        (self.working / name).rename(self.out / name)

    def write(self, record: Record) -> None:
        """Append a record on a new line, also after an unfinished line of a killed process."""
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
        """The latest record of every scene over all processes."""
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
        """Write `manifest.json` from the journals of all processes and return its contents.

        With `settle`, repeat while the journals grow, so that no process that ends at the same time
        is missed.
        """
        while True:
            records = self.read()
            manifest = _manifest(folder, scenes, settings, records)
            write_json(self.out / MANIFEST, manifest)
            if not settle or self.read() == records:
                return manifest

    def _require_same(self, earlier: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        for name, value in settings.items():
            if earlier.get(name) != value:
                plain = name in ("scenes", "weights")
                flag = name if plain else "--" + name.replace("_", "-")
                raise UserError(
                    f"{self.out} was started with {flag} {earlier.get(name)}, not {value}: choose "
                    "another folder, or the same settings"
                )


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
    """A record, or None for an unfinished line of a killed process."""
    try:
        return from_json(Record, json.loads(line))
    except ValueError:
        return None


def _lock(path: Path, process: str) -> FileLock | None:
    """A lock that the operating system releases when the process ends; None without file locks."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another zipmap batch runs in {path.parent.parent} as process {process}: wait until "
            "it ends, or give each its own --process i/n"
        ) from None
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return lock
