"""Newton-Schulz in NumPy with the rounding points of the kernels, and without any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

NEEDS_TRANSPOSED_REFS = pytest.mark.skipif(
    jax.__version_info__ < (0, 11), reason="the interpreter of JAX 0.10 has no transposed refs"
)

NEEDS_CLUSTERS = pytest.mark.skipif(
    jax.__version_info__ < (0, 11), reason="the interpreter of JAX 0.10 has no clusters"
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def bf16(x: np.ndarray) -> np.ndarray:
    """Rounded to bf16, held in fp32."""
    return np.asarray(x).astype(jnp.bfloat16).astype(np.float32)


def iterate(
    g: np.ndarray,
    steps: int,
    *,
    operand: Callable[[np.ndarray], np.ndarray] = bf16,
    carry: Callable[[np.ndarray], np.ndarray] = lambda x: x,
    dtype: Any = np.float32,
) -> np.ndarray:
    """Newton-Schulz of a batch of wide matrices, sums in `dtype`."""
    a, b, c = (dtype(x) for x in (3.4445, -4.7750, 2.0315))
    x = operand(g.astype(dtype))
    norm = np.sqrt(np.sum(x * x, axis=(-2, -1), keepdims=True))
    x = carry(x / (carry(norm) + dtype(1e-7)))
    for _ in range(steps):
        narrow = operand(x)
        gram = operand(narrow @ np.swapaxes(narrow, -1, -2))
        poly = operand(b * gram + c * (gram @ gram))
        x = carry(a * x + poly @ narrow)
    return x


def exact(g: np.ndarray, steps: int) -> np.ndarray:
    """Newton-Schulz in float64."""
    return iterate(g, steps, operand=lambda x: x, dtype=np.float64)


def error(actual: Any, expected: np.ndarray) -> float:
    """Relative, in the Frobenius norm of the whole batch."""
    actual = np.asarray(actual).astype(np.float64)
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))
