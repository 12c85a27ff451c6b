"""Public entry point of Newton-Schulz orthogonalisation, with the choice of an implementation."""

from __future__ import annotations

import functools
from typing import Any, get_args

import jax

from pallas_kernels.dispatch import (
    Implementation,
    check_implementation,
    kernels_run_here,
    on_cuda,
)
from pallas_kernels.newton_schulz.reference import Precision, newton_schulz_reference

MULTIPLE = 64
"""Divisor of the extents for which "auto" chooses the kernel; others need much padding."""


def newton_schulz(
    matrices: jax.Array,
    *,
    steps: int = 5,
    precision: Precision = "fp32",
    implementation: Implementation = "auto",
    interpret: Any = None,
) -> jax.Array:
    """Approximately orthogonalises a batch of matrices, see `newton_schulz_reference`.

    Args:
      matrices: [..., rows, columns].
      steps: number of iterations.
      precision: "fp32", "bf16_operands" or "bf16".
      implementation: "xla"; "pallas", for Hopper GPUs and bf16 operands; or "auto", which is Pallas
        on such a GPU for precision "bf16_operands" and extents in multiples of 64 if kernels are
        enabled (see `pallas_kernels.dispatch`), and XLA otherwise. Sharded inputs need `shard_map`,
        because XLA gathers the operands of a kernel.
      interpret: parameters of the GPU interpreter, for "pallas" on a CPU; None = no interpreter.

    Returns:
      An fp32 array of the same shape. Its reverse-mode derivative is that of the reference,
      recomputed by XLA.

    Raises:
      ValueError: the precision or the implementation is unknown, or "pallas" has precision "fp32".
    """
    if precision not in get_args(Precision):
        raise ValueError(
            f"unknown precision {precision!r}: choose one of {', '.join(get_args(Precision))}"
        )
    check_implementation(implementation)
    if implementation == "auto" and not (_serves(matrices, precision) and kernels_run_here()):
        implementation = "xla"
    if implementation == "xla":
        return newton_schulz_reference(matrices, steps, precision)
    return _fused(matrices, steps, precision, implementation, interpret)


def _serves(matrices: jax.Array, precision: Precision) -> bool:
    """Whether "auto" chooses the kernel for these matrices if kernels are enabled."""
    whole = all(extent > 0 and extent % MULTIPLE == 0 for extent in matrices.shape[-2:])
    return precision == "bf16_operands" and whole and matrices.size > 0


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _fused(
    matrices: jax.Array,
    steps: int,
    precision: Precision,
    implementation: Implementation,
    interpret: Any,
) -> jax.Array:
    # The import of Pallas takes 0.4 s and is needed for kernels only.
    from pallas_kernels.newton_schulz.kernel import newton_schulz_kernel

    kernel = functools.partial(
        newton_schulz_kernel, steps=steps, precision=precision, interpret=interpret
    )
    if implementation == "pallas":
        return kernel(matrices)
    reference = functools.partial(newton_schulz_reference, steps=steps, precision=precision)
    return on_cuda(kernel, reference, matrices)


def _forward(matrices: jax.Array, *static: Any) -> tuple[jax.Array, jax.Array]:
    return _fused(matrices, *static), matrices


def _backward(
    steps: int,
    precision: Precision,
    implementation: Implementation,
    interpret: Any,
    matrices: jax.Array,
    cotangent: jax.Array,
) -> tuple[jax.Array]:
    del implementation, interpret
    _, pull = jax.vjp(lambda x: newton_schulz_reference(x, steps, precision), matrices)
    return pull(cotangent)


_fused.defvjp(_forward, _backward)
