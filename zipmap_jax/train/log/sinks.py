"""Where the news of a run go, one file per place; `writers_for` builds those a run asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zipmap_jax.errors import UserError
from zipmap_jax.train.log.console import console_sink
from zipmap_jax.train.log.json_lines import JsonLines
from zipmap_jax.train.log.sink import Sink
from zipmap_jax.train.log.tensorboard import TensorBoard
from zipmap_jax.train.log.weights_and_biases import WeightsAndBiases

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from zipmap_jax.train.config.schema import LogConfig

__all__ = ["OPTIONAL", "Sink", "left_out", "writers_for"]

OPTIONAL = ("tensorboard", "wandb")
"""Writers that a run can do without, such as those that need a network."""


def writers_for(
    log: LogConfig, directory: Path, steps: int, console: TextIO | None = None
) -> tuple[dict[str, Sink], list[str]]:
    """The places of `log.writers`, by their names, and a line on each that could not be reached.

    Args:
      log: what a run tells.
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
    """What is said of an optional writer that failed."""
    return f"the writer {name} failed and is left out from here on: {error}"
