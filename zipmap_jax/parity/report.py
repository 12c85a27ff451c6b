"""The result of a comparison: one row per tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

import numpy as np

Criterion = Literal["max", "rms"]


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """A bound on the error relative to the recorded array.

    Attributes:
      value: maximum error.
      criterion: "max" = max|a - b| / max|b|; "rms" = rms(a - b) / rms(b).
      ignored: absolute difference that criterion "max" subtracts from the error.
    """

    value: float
    criterion: Criterion = "max"
    ignored: float = 0.0


@dataclasses.dataclass(frozen=True)
class TensorComparison:
    """Comparison of one tensor a with its recorded value b.

    Attributes:
      name: key in the file.
      shape: shape of the recorded array.
      relative_l2: ||a - b|| / ||b||.
      maximum: maximum absolute difference.
      error: error by the criterion of the tolerance.
      tolerance: bound on the error.
    """

    name: str
    shape: tuple[int, ...]
    relative_l2: float
    maximum: float
    error: float
    tolerance: Tolerance

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance, which NaN is not."""
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
    """Compares an array with its recorded value.

    Args:
      name: key in the file.
      actual: computed array.
      recorded: recorded array.
      tolerance: bound on the error.

    Returns:
      The comparison; its error is infinite if the shapes differ.
    """
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
    """`error / scale`; for scale 0 the result is 0 or infinite."""
    if scale > 0:
        return float(error / scale)
    return 0.0 if error == 0 else float("inf")


def thin(actual: np.ndarray, shape: tuple[int, ...], axes: Iterable[int]) -> np.ndarray:
    """Subsamples an array as the recorded one, which may have every second element of an axis.

    Args:
      actual: computed array.
      shape: shape of the recorded array.
      axes: axes that may be subsampled.

    Returns:
      The array with every second element of the axes whose lengths differ.
    """
    for axis in axes:
        if actual.ndim == len(shape) and actual.shape[axis] != shape[axis]:
            actual = actual[(slice(None),) * axis + (slice(None, None, 2),)]
    return actual
