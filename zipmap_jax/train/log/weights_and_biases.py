"""Weights & Biases, where the package is installed and somebody is logged in."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from zipmap_jax.errors import MissingPackageError
from zipmap_jax.files import write_text
from zipmap_jax.train.log.sink import flat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np


class WeightsAndBiases:
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
            raise MissingPackageError(
                "the writer wandb needs the package of that name: pip install wandb, or leave it "
                "out of log.writers"
            ) from error
        identity = directory / "wandb_run"
        if not identity.exists():
            write_text(identity, uuid.uuid4().hex)
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

    def text(self, text: str) -> None:
        pass

    def close(self) -> None:
        self._run.finish()
