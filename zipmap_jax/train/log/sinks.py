"""Destinations of a run's metrics: files, TensorBoard, Weights & Biases."""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from zipmap_jax.errors import UserError
from zipmap_jax.files import dumps
from zipmap_jax.train.log.console import console_sink
from zipmap_jax.train.log.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import TextIO

    import numpy as np

    from zipmap_jax.train.config.schema import LogConfig


OPTIONAL = ("tensorboard", "wandb")
"""Writers that a run can do without, such as those that need a network."""


def writers_for(
    log: LogConfig, directory: Path, steps: int, console: TextIO | None = None
) -> tuple[dict[str, Sink], list[str]]:
    """The sinks of `log.writers` by name, and a line on each optional one that failed.

    Args:
      log: the run's writers.
      directory: work directory.
      steps: length of the run.
      console: where lines go; None = standard output.

    Raises:
      UserError: a name is not known, or its package is not installed.
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
            failures.append(left_out(name, error))
    return sinks, failures


def left_out(name: str, error: Exception) -> str:
    """Message about an optional writer that failed."""
    return f"the writer {name} failed and is left out from here on: {error}"


class JsonLines(Sink):
    """Rows of `kind` "train", "eval" or "picture", each with `step` and `time` (Unix, seconds).

    The file is appended to, so that a resumed run continues it. A killed
    run repeats the steps after its last checkpoint: the later row of a step counts.

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

    def close(self) -> None:
        self._file.close()

    def _row(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        row = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        self._file.write(dumps(row) + "\n")
        self._file.flush()


class TensorBoard(Sink):
    """Curves and pictures.

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

    def evaluation(self, step: int, answers: Mapping[str, Mapping[str, float]]) -> None:
        self._scalars(step, flat(answers))

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
    """A run named after the work directory; a resumed run goes on in the same one.

    The project is `WANDB_PROJECT` of the environment, else "zipmap-jax".

    Args:
      directory: work directory; `wandb_run` in it holds the identity of the run.

    Raises:
      UserError: wandb is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise UserError(
                "the writer wandb needs the package of that name: pip install wandb, or leave it "
                "out of log.writers"
            ) from error
        identity = directory / "wandb_run"
        if not identity.exists():
            identity.write_text(uuid.uuid4().hex)
        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "zipmap-jax"),
            name=directory.name,
            id=identity.read_text(),
            resume="allow",
            dir=str(directory),
        )

    def train(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({f"train/{name}": value for name, value in values.items()}, step=step)

    def evaluation(self, step: int, answers: Mapping[str, Mapping[str, float]]) -> None:
        self._run.log(flat(answers), step=step)

    def picture(self, step: int, image: np.ndarray, path: Path) -> None:
        self._run.log({"pictures": self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        self._run.finish()


def flat(answers: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """`"held_out/METRIC/ANSWER"`, so that the answers of a metric stand side by side."""
    return {
        f"held_out/{metric}/{answer}": value
        for answer, metrics in answers.items()
        for metric, value in metrics.items()
    }
