"""Interface of the destinations of a run's metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from jaxtyping import UInt8


class Sink:
    """One destination of a run's metrics; `step` is the number of completed steps."""

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Write means over the steps since the last call, and the speed."""

    def evaluation(self, step: int, methods: Mapping[str, Mapping[str, float]]) -> None:
        """Write held-out metrics by method, the main one first."""

    def picture(self, step: int, image: UInt8[np.ndarray, "h w 3"], path: Path) -> None:
        """Write a picture, which is already stored at `path`."""

    def text(self, text: str) -> None:
        """Write one line."""

    def close(self) -> None:
        """Release all resources at the end of the run."""
