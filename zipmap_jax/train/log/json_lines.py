"""`metrics.jsonl`: one object per line, everything that can be said in numbers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from zipmap_jax.files import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np


class JsonLines:
    """Rows of `kind` "train", "eval" or "picture", each with `step` and `time` (Unix, seconds).

    The file is appended to, so that a resumed run continues it. Steps that a killed run made after
    its last checkpoint are made, and written, again: the later row of a step counts.

    Args:
      directory: work directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = (directory / "metrics.jsonl").open("a", encoding="utf-8")

    def train(self, step: int, values: Mapping[str, float]) -> None:
        self._row("train", step, values)

    def evaluation(self, step: int, answers: Mapping[str, Mapping[str, float]]) -> None:
        self._row("eval", step, answers)

    def picture(self, step: int, image: np.ndarray, path: Path) -> None:
        self._row("picture", step, {"file": path.relative_to(self._directory).as_posix()})

    def text(self, text: str) -> None:
        pass

    def close(self) -> None:
        self._file.close()

    def _row(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        row = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        self._file.write(dumps(row) + "\n")
        self._file.flush()
