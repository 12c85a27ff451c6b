"""Event files for TensorBoard, in the folder `tensorboard` of the work directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.errors import MissingPackageError
from zipmap_jax.train.log.sink import flat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np


class TensorBoard:
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
            raise MissingPackageError(
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
