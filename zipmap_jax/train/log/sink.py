"""What a place that the news of a run go to has to be able to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from jaxtyping import UInt8


class Sink(Protocol):
    """One place; a step is the number of steps made, values are Python numbers."""

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Means over the steps since the last call, and the run's speed."""
        ...

    def evaluation(self, step: int, answers: Mapping[str, Mapping[str, float]]) -> None:
        """Held-out metrics by the name of the answer, the one that matters first."""
        ...

    def picture(self, step: int, image: UInt8[np.ndarray, "h w 3"], path: Path) -> None:
        """A picture, which is in the file `path` already."""
        ...

    def text(self, text: str) -> None:
        """One line."""
        ...

    def close(self) -> None:
        """Called once, at the end."""
        ...


def flat(answers: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """`"held_out/METRIC/ANSWER"`, so that the answers of a metric stand side by side."""
    return {
        f"held_out/{metric}/{answer}": value
        for answer, metrics in answers.items()
        for metric, value in metrics.items()
    }
