"""Newton-Schulz orthogonalisation in plain JAX, the definition that kernels are compared with.

The quintic iteration of the Muon optimiser,

    X <- X / (||X||_F + 1e-7);   A = X X^T;   X <- a X + (b A + c A A) X   (repeated),

with (a, b, c) = (3.4445, -4.7750, 2.0315), maps every singular value of a well conditioned matrix
to about [0.68, 1.2]. The result approximates `U V^T` of the SVD and needs matrix products only.

References: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""(a, b, c) of the iteration."""
EPSILON = 1e-7
"""Summand to the Frobenius norm."""
Precision = Literal["fp32", "bf16_operands", "bf16"]
"""Names of the rounding points, see `newton_schulz_reference`."""


def formats(precision: Precision) -> tuple[Any, Any]:
    """Dtypes of a precision.

    Args:
      precision: see `newton_schulz_reference`.

    Returns:
      The dtype of the operands of every product, and the dtype of X between steps.
    """
    return (
        jnp.float32 if precision == "fp32" else jnp.bfloat16,
        jnp.bfloat16 if precision == "bf16" else jnp.float32,
    )


def normalise(matrices: jax.Array, precision: Precision) -> jax.Array:
    """Divides matrices by their Frobenius norms, `X / (||X||_F + 1e-7)`.

    Args:
      matrices: [..., rows, columns].
      precision: see `newton_schulz_reference`.

    Returns:
      An array of the same shape, in the dtype of X between steps.
    """
    operand, carry = formats(precision)
    x = matrices.astype(operand).astype(jnp.float32)
    # A zero matrix stays zero; the square root has no derivative at 0.
    square = jnp.sum(x * x, axis=(-2, -1), keepdims=True)
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return (x / (norm.astype(carry).astype(jnp.float32) + EPSILON)).astype(carry)


def newton_schulz_reference(
    matrices: jax.Array, steps: int = 5, precision: Precision = "fp32"
) -> jax.Array:
    """Approximately orthogonalises a batch of matrices.

    Args:
      matrices: [..., rows, columns]; tall ones are transposed internally.
      steps: number of iterations; 0 returns the matrices divided by their Frobenius norm.
      precision: "fp32" throughout; "bf16_operands" rounds the operands of every product to bf16 and
        keeps norm, accumulation and X in fp32; "bf16" rounds every result, X included.

    Returns:
      An fp32 array of the same shape.
    """
    *batch, rows, columns = matrices.shape
    tall = rows > columns
    operand, carry = formats(precision)
    # Batch axes of one element make XLA's products on a CPU up to twice as slow.
    x = matrices.reshape(*(n for n in batch if n != 1), rows, columns)
    x = normalise(jnp.swapaxes(x, -1, -2) if tall else x, precision)
    a, b, c = COEFFICIENTS

    def product(left: jax.Array, right: jax.Array) -> jax.Array:
        # Only "highest" computes fp32 products in fp32; products of 16-bit operands are exact.
        return jnp.matmul(
            left.astype(operand),
            right.astype(operand),
            precision="highest" if operand == jnp.float32 else None,
            preferred_element_type=jnp.float32,
        )

    for _ in range(steps):
        gram = product(x, jnp.swapaxes(x, -1, -2)).astype(operand).astype(jnp.float32)
        poly = (b * gram + c * product(gram, gram)).astype(operand)
        x = (a * x.astype(jnp.float32) + product(poly, x)).astype(carry)
    x = x.astype(jnp.float32)
    return (jnp.swapaxes(x, -1, -2) if tall else x).reshape(matrices.shape)
