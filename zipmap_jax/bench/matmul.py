"""Peak rate of matrix products on the device, the reference for a model's rate."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from zipmap_jax.bench.timing import timed

_CPU_SIDE, _ACCELERATOR_SIDE = 1024, 8192
_CHAIN = 4


@dataclasses.dataclass(frozen=True)
class MatmulPeak:
    """The fastest run of a chain of products of square random matrices.

    Attributes:
      flops: floating-point operations per second.
      side: number of rows and of columns.
      dtype: dtype of the operands.
      precision: `jax.lax` precision of the products.
    """

    flops: float
    side: int
    dtype: str
    precision: str


def matmul_peak(dtype: Any, precision: str, side: int | None = None) -> MatmulPeak:
    """Measure the rate on the default device; zeros instead of random numbers would run faster.

    Args:
      dtype, precision: dtype and precision of the model's products.
      side: side of the matrices; None = 8192, or 1024 on the CPU.
    """
    side = side or (_CPU_SIDE if jax.default_backend() == "cpu" else _ACCELERATOR_SIDE)
    # Entries of variance 1 / side keep the magnitude of the product.
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side)).astype(dtype) for key in keys)
    b = b * jnp.asarray(side**-0.5, dtype)

    @jax.jit
    def chain(a: jax.Array, b: jax.Array) -> jax.Array:
        return lax.fori_loop(0, _CHAIN, lambda _, x: jnp.dot(x, b, precision=precision), a)

    timing = timed(lambda: chain(a, b), repeats=10)
    flops = _CHAIN * 2.0 * side**3 / timing.fastest
    return MatmulPeak(flops, side, jnp.dtype(dtype).name, precision)
