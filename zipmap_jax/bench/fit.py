"""A straight line through times: what a call costs at all, and what each view adds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Line:
    """`seconds = intercept + slope * views`.

    Attributes:
      r2: share of the variance of the seconds that the line explains.
    """

    intercept: float
    slope: float
    r2: float


def fit_line(views: Sequence[int], seconds: Sequence[float]) -> Line | None:
    """Least squares; None for fewer than three points, which any line would flatter."""
    if len(set(views)) < 3:
        return None
    x, y = np.asarray(views, np.float64), np.asarray(seconds, np.float64)
    if np.ptp(y) == 0:
        return Line(float(y[0]), 0.0, 1.0)
    slope, intercept = np.polyfit(x, y, 1)
    unexplained = np.sum((y - intercept - slope * x) ** 2)
    return Line(
        float(intercept), float(slope), float(1 - unexplained / np.sum((y - y.mean()) ** 2))
    )
