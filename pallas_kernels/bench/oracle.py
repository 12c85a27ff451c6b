"""The operations in float64 on the host."""

from __future__ import annotations

import numpy as np

from pallas_kernels.newton_schulz.reference import COEFFICIENTS, EPSILON
from pallas_kernels.newton_schulz.update import EPSILON as UPDATE_EPSILON


def newton_schulz(g: np.ndarray, steps: int) -> np.ndarray:
    """Newton-Schulz orthogonalisation in float64.

    Args:
      g: wide matrices, [batch, rows, columns].
      steps: number of iterations.

    Returns:
      A float64 array of the same shape.
    """
    a, b, c = COEFFICIENTS
    x = g.astype(np.float64)
    x = x / (np.linalg.norm(x, axis=(-2, -1), keepdims=True) + EPSILON)
    for _ in range(steps):
        gram = x @ np.swapaxes(x, -1, -2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def renormalised(w: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Rescales columns to given norms.

    Args:
      w: matrices, [..., rows, columns].
      norms: norms of the columns, [..., 1, columns].

    Returns:
      The rescaled matrices.
    """
    return w / (np.linalg.norm(w, axis=-2, keepdims=True) + UPDATE_EPSILON) * norms


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Relative error in the Frobenius norm, the maximum over a batch.

    Args:
      actual, expected: [batch, rows, columns].

    Returns:
      The error.
    """
    difference = np.linalg.norm(actual.astype(np.float64) - expected, axis=(-2, -1))
    return float(np.max(difference / np.linalg.norm(expected, axis=(-2, -1))))
