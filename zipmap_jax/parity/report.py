"""One line per compared tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

import numpy as np

Criterion = Literal["max", "rms"]


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """A bound on an error relative to the recorded array.

    Attributes:
      value: largest allowed error.
      criterion: "max" = max|a - b| / max|b|; "rms" = rms(a - b) / rms(b).
      ignored: largest absolute difference that "max" takes for none.
    """

    value: float
    criterion: Criterion = "max"
    ignored: float = 0.0


@dataclasses.dataclass(frozen=True)
class TensorComparison:
    """How one tensor compares.

    Attributes:
      name: key in the file.
      shape: of the recorded array.
      relative_l2: ||a - b|| / ||b||.
      maximum: largest absolute difference.
      error: the figure held against the tolerance.
      tolerance: and its bound.
    """

    name: str
    shape: tuple[int, ...]
    relative_l2: float
    maximum: float
    error: float
    tolerance: Tolerance

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance (NaN is not)."""
        return bool(self.error <= self.tolerance.value)

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        bound = f"rel_{self.tolerance.criterion} {self.error:.2e} <= {self.tolerance.value:.0e}"
        return (
            f"{'ok  ' if self.ok else 'FAIL'} {self.name:<44} {shape:>18}  "
            f"rel_l2 {self.relative_l2:.2e}  max_abs {self.maximum:.2e}  {bound}"
        )


def compare(
    name: str, actual: np.ndarray, recorded: np.ndarray, tolerance: Tolerance
) -> TensorComparison:
    """Compare an array with its recorded value; a different shape is a failure, not an error."""
    b = np.asarray(recorded, np.float64)
    a = np.asarray(actual, np.float64)
    if a.shape != b.shape:
        return TensorComparison(name, b.shape, np.inf, np.inf, np.inf, tolerance)
    difference, size = np.abs(a - b), np.abs(b)
    l2 = _ratio(float(np.linalg.norm(difference)), float(np.linalg.norm(b)))
    worst = float(difference.max(initial=0.0))
    counted = max(worst - tolerance.ignored, 0.0) if np.isfinite(worst) else worst
    error = l2 if tolerance.criterion == "rms" else _ratio(counted, size.max(initial=0.0))
    return TensorComparison(name, b.shape, l2, worst, error, tolerance)


def _ratio(error: float, scale: float) -> float:
    """`error / scale`; an array of zeros must be matched exactly."""
    if scale > 0:
        return float(error / scale)
    return 0.0 if error == 0 else float("inf")


def thin(actual: np.ndarray, shape: tuple[int, ...], axes: Iterable[int]) -> np.ndarray:
    """Take every second element of the given axes where the recorded array did so."""
    for axis in axes:
        if actual.ndim == len(shape) and actual.shape[axis] != shape[axis]:
            actual = actual[(slice(None),) * axis + (slice(None, None, 2),)]
    return actual
