"""Public entry point: picks an implementation of Newton-Schulz orthogonalisation."""

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
"""Extents that "auto" gives to the kernel; others would be padded by more than half."""


def newton_schulz(
    matrices: jax.Array,
    *,
    steps: int = 5,
    precision: Precision = "fp32",
    implementation: Implementation = "auto",
    interpret: Any = None,
) -> jax.Array:
    """Approximately orthogonalise a batch of matrices; see `newton_schulz_reference` for the maths.

    Args:
      matrices: [..., rows, columns].
      steps: Newton-Schulz iterations.
      precision: "fp32", "bf16_operands" or "bf16".
      implementation: "xla"; "pallas", for Hopper GPUs and 16-bit operands; or "auto": Pallas on
        such a GPU for precision "bf16_operands" and extents in multiples of 64, else XLA. Call it
        inside `shard_map` where inputs are spread over devices: XLA gathers those of a kernel.
        `pallas_kernels.dispatch` says when "auto" may choose a kernel at all.
      interpret: parameters of the GPU interpreter, to run the kernel of "pallas" on a CPU.

    Returns:
      fp32 array of the same shape. Differentiable in reverse; the derivative is that of the
      reference, recomputed by XLA.

    Raises:
      ValueError: unknown precision or implementation, or "pallas" for precision "fp32".
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
    """Whether "auto" wants the kernel for these matrices, on a machine that has it."""
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
    # Pallas takes 0.4 s to import, and most machines never need it.
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
