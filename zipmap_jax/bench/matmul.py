"""What the device reaches in a plain matrix product: the roof that a model is held against."""

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
    """The fastest of several runs of a chain of square products of random matrices.

    Attributes:
      flops: per second.
      side: rows and columns.
      dtype: of the operands.
      precision: of `jax.lax`.
    """

    flops: float
    side: int
    dtype: str
    precision: str


def matmul_peak(dtype: Any, precision: str, side: int | None = None) -> MatmulPeak:
    """Measure it on the default device, with random numbers: zeros draw less power and run faster.

    Args:
      dtype, precision: as of the model's products.
      side: of the matrices; None = 8192, or 1024 on the CPU.
    """
    side = side or (_CPU_SIDE if jax.default_backend() == "cpu" else _ACCELERATOR_SIDE)
    # Entries of variance 1 / side keep the size of what is multiplied.
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side)).astype(dtype) for key in keys)
    b = b * jnp.asarray(side**-0.5, dtype)

    @jax.jit
    def chain(a: jax.Array, b: jax.Array) -> jax.Array:
        return lax.fori_loop(0, _CHAIN, lambda _, x: jnp.dot(x, b, precision=precision), a)

    timing = timed(lambda: chain(a, b), repeats=10)
    flops = _CHAIN * 2.0 * side**3 / timing.fastest
    return MatmulPeak(flops, side, jnp.dtype(dtype).name, precision)
