"""Public entry point: picks an implementation of Newton-Schulz orthogonalisation."""

from __future__ import annotations

from typing import Literal, get_args

import jax

from pallas_kernels.newton_schulz.reference import Precision, newton_schulz_reference

Implementation = Literal["auto", "xla"]


def newton_schulz(
    matrices: jax.Array,
    *,
    steps: int = 5,
    precision: Precision = "fp32",
    implementation: Implementation = "auto",
) -> jax.Array:
    """Approximately orthogonalise a batch of matrices; see `newton_schulz_reference` for the maths.

    Args:
      matrices: [..., rows, columns].
      steps: Newton-Schulz iterations.
      precision: "fp32", "bf16_operands" or "bf16".
      implementation: "xla", or "auto" for the fastest available on the platform (today XLA).

    Returns:
      fp32 array of the same shape. Differentiable.

    Raises:
      ValueError: for an unknown precision or implementation.
    """
    if precision not in get_args(Precision):
        raise ValueError(
            f"unknown precision {precision!r}: choose one of {', '.join(get_args(Precision))}"
        )
    if implementation not in ("auto", "xla"):
        raise ValueError(f"unknown implementation {implementation!r}: choose 'auto' or 'xla'")
    return newton_schulz_reference(matrices, steps, precision)
