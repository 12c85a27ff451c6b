"""Errors of focal lengths, and the aspect of pixels."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

NAMES = ("focal", "fy/fx")


@dataclasses.dataclass(frozen=True)
class FocalMetric:
    """Means over views of errors of log focal lengths.

    Attributes:
      error: sum over views of `(|log fx/fx*| + |log fy/fy*|) / 2`.
      aspect: sum over views of `log (fy/fx) / (fy*/fx*)`.
      views: number of views.
    """

    error: float = 0.0
    aspect: float = 0.0
    views: int = 0

    @classmethod
    def from_intrinsics(
        cls, predicted: Float[np.ndarray, "v 3 3"], true: Float[np.ndarray, "v 3 3"]
    ) -> FocalMetric:
        """State of one sequence; views with a focal length that is not positive do not count.

        Args:
          predicted, true: intrinsic matrices of the same images.
        """
        fx, fy = (np.asarray(predicted[:, i, i] / true[:, i, i], np.float64) for i in (0, 1))
        known = np.isfinite(fx) & np.isfinite(fy) & (fx > 0) & (fy > 0)
        x, y = np.log(fx[known]), np.log(fy[known])
        error = float(np.sum(np.abs(x) + np.abs(y)) / 2)
        return cls(error, float(np.sum(y - x)), int(known.sum()))

    def merge(self, other: FocalMetric) -> FocalMetric:
        """The state of both."""
        sums = (self.error + other.error, self.aspect + other.aspect)
        return FocalMetric(*sums, self.views + other.views)

    def compute(self) -> dict[str, float]:
        """The metrics of `NAMES`: error in percent, aspect as a ratio; NaN without views."""
        if not self.views:
            return dict.fromkeys(NAMES, float("nan"))
        error, aspect = np.exp(self.error / self.views), np.exp(self.aspect / self.views)
        return dict(zip(NAMES, (100 * float(error - 1), float(aspect)), strict=True))
