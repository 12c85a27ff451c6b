"""Destinations of a run's metrics: files, TensorBoard, Weights & Biases."""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from zipmap_jax.errors import UserError
from zipmap_jax.files import dumps, write_text
from zipmap_jax.train.log.console import console_sink
from zipmap_jax.train.log.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import TextIO

    import numpy as np

    from zipmap_jax.train.config.schema import LogConfig

OPTIONAL = ("tensorboard", "wandb")
"""Writers whose failure does not end a run."""


def writers_for(
    log: LogConfig, directory: Path, steps: int, console: TextIO | None = None
) -> tuple[dict[str, Sink], list[str]]:
    """Open the sinks of `log.writers`.

    Args:
      log: names of the writers.
      directory: work directory.
      steps: length of the run.
      console: destination of lines; None = standard output.

    Returns:
      Sinks by name, and a message for each optional one that failed.

    Raises:
      UserError: a name is unknown, or its package is not installed.
    """
    known: dict[str, Callable[[], Sink]] = {
        "console": lambda: console_sink(steps, console),
        "json": lambda: JsonLines(directory),
        "tensorboard": lambda: TensorBoard(directory),
        "wandb": lambda: WeightsAndBiases(directory),
    }
    if unknown := sorted(set(log.writers) - set(known)):
        raise UserError(
            f"there is no writer {', '.join(unknown)}: log.writers may name {', '.join(known)}"
        )
    sinks, failures = {}, []
    for name in log.writers:
        try:
            sinks[name] = known[name]()
        except Exception as error:
            if name not in OPTIONAL or isinstance(error, ValueError):
                raise
            failures.append(failure(name, error))
    return sinks, failures


def failure(name: str, error: Exception) -> str:
    """Return the message for an optional writer that failed."""
    return f"the writer {name} failed and is switched off: {error}"


class JsonLines(Sink):
    """Rows of `kind` "train", "eval" or "picture", each with `step` and `time` (Unix, seconds).

    A resumed run appends to the file. Steps after the last checkpoint of a killed run appear twice;
    the later row is valid.

    Args:
      directory: work directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = (directory / "metrics.jsonl").open("a", encoding="utf-8")

    def train(self, step: int, values: Mapping[str, float]) -> None:
        self._row("train", step, values)

    def evaluation(self, step: int, methods: Mapping[str, Mapping[str, float]]) -> None:
        self._row("eval", step, methods)

    def picture(self, step: int, image: np.ndarray, path: Path) -> None:
        self._row("picture", step, {"file": path.relative_to(self._directory).as_posix()})

    def close(self) -> None:
        self._file.close()

    def _row(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        row = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        self._file.write(dumps(row) + "\n")
        self._file.flush()


class TensorBoard(Sink):
    """Curves and pictures for TensorBoard.

    Args:
      directory: work directory.

    Raises:
      UserError: tensorboardX is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UserError(
                "the writer tensorboard needs tensorboardX: pip install 'zipmap-jax[log]', or "
                "leave it out of log.writers"
            ) from error
        self._events = SummaryWriter(str(directory / "tensorboard"))

    def train(self, step: int, values: Mapping[str, float]) -> None:
        self._scalars(step, {f"train/{name}": value for name, value in values.items()})

    def evaluation(self, step: int, methods: Mapping[str, Mapping[str, float]]) -> None:
        self._scalars(step, flat(methods))

    def picture(self, step: int, image: np.ndarray, path: Path) -> None:
        self._events.add_image("pictures", image, step, dataformats="HWC")

    def text(self, text: str) -> None:
        self._events.add_text("log", text)

    def close(self) -> None:
        self._events.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        self._events.flush()


class WeightsAndBiases(Sink):
    """A W&B run named after the work directory; a resumed run continues it.

    The project is the environment's `WANDB_PROJECT`, or "zipmap-jax".

    Args:
      directory: work directory; its file `wandb_run` contains the identifier of the run.

    Raises:
      UserError: wandb is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError(
                "the writer wandb needs wandb: pip install wandb, or leave it out of log.writers"
            ) from error
        identifier = directory / "wandb_run"
        if not identifier.exists():
            write_text(identifier, uuid.uuid4().hex)
        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "zipmap-jax"),
            name=directory.name,
            id=identifier.read_text(),
            resume="allow",
            dir=str(directory),
        )

    def train(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({f"train/{name}": value for name, value in values.items()}, step=step)

    def evaluation(self, step: int, methods: Mapping[str, Mapping[str, float]]) -> None:
        self._run.log(flat(methods), step=step)

    def picture(self, step: int, image: np.ndarray, path: Path) -> None:
        self._run.log({"pictures": self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        self._run.finish()


def flat(methods: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return metrics as `"held_out/METRIC/METHOD"`, which groups the methods of a metric."""
    return {
        f"held_out/{metric}/{method}": value
        for method, metrics in methods.items()
        for metric, value in metrics.items()
    }
