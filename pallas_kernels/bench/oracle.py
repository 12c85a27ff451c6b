"""The operations in float64 on the host, for the first and the last matrix of a batch."""

from __future__ import annotations

import numpy as np

from pallas_kernels.newton_schulz.reference import COEFFICIENTS, EPSILON
from pallas_kernels.newton_schulz.update import EPSILON as UPDATE_EPSILON


def newton_schulz(g: np.ndarray, steps: int) -> np.ndarray:
    """Of a batch of wide matrices."""
    a, b, c = COEFFICIENTS
    x = g.astype(np.float64)
    x = x / (np.linalg.norm(x, axis=(-2, -1), keepdims=True) + EPSILON)
    for _ in range(steps):
        gram = x @ np.swapaxes(x, -1, -2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def renormalised(w: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Columns of w with these norms."""
    return w / (np.linalg.norm(w, axis=-2, keepdims=True) + UPDATE_EPSILON) * norms


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """In the Frobenius norm, of the worse matrix of a batch."""
    difference = np.linalg.norm(actual.astype(np.float64) - expected, axis=(-2, -1))
    return float(np.max(difference / np.linalg.norm(expected, axis=(-2, -1))))
