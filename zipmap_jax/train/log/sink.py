"""Interface of the destinations of a run's metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from jaxtyping import UInt8


class Sink:
    """One destination of a run's metrics; a step is the number of steps made."""

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Means over the steps since the last call, and the run's speed."""

    def evaluation(self, step: int, answers: Mapping[str, Mapping[str, float]]) -> None:
        """Held-out metrics by the name of the answer, the main one first."""

    def picture(self, step: int, image: UInt8[np.ndarray, "h w 3"], path: Path) -> None:
        """A picture, which is in the file `path` already."""

    def text(self, text: str) -> None:
        """One line."""

    def close(self) -> None:
        """The end of the run."""
