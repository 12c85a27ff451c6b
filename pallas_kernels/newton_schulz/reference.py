"""Newton-Schulz orthogonalisation in plain JAX: the definition, and the oracle for kernels.

The quintic iteration of the Muon optimiser,

    X <- X / (||X||_F + 1e-7);   A = X X^T;   X <- a X + (b A + c A A) X   (repeated),

with (a, b, c) = (3.4445, -4.7750, 2.0315), pushes every singular value of a well conditioned matrix
into about [0.68, 1.2]: an approximate `U V^T` of the SVD, from matrix products alone.

References: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
EPSILON = 1e-7
Precision = Literal["fp32", "bf16_operands", "bf16"]


def formats(precision: Precision) -> tuple[Any, Any]:
    """Format of the operands of every product, and of the carried X."""
    return (
        jnp.float32 if precision == "fp32" else jnp.bfloat16,
        jnp.bfloat16 if precision == "bf16" else jnp.float32,
    )


def normalise(matrices: jax.Array, precision: Precision) -> jax.Array:
    """`X / (||X||_F + 1e-7)` of [..., rows, columns], in the format X is carried in."""
    operand, carry = formats(precision)
    x = matrices.astype(operand).astype(jnp.float32)
    # A zero matrix stays zero, and the square root has no derivative there.
    square = jnp.sum(x * x, axis=(-2, -1), keepdims=True)
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return (x / (norm.astype(carry).astype(jnp.float32) + EPSILON)).astype(carry)


def newton_schulz_reference(
    matrices: jax.Array, steps: int = 5, precision: Precision = "fp32"
) -> jax.Array:
    """Approximately orthogonalise a batch of matrices.

    Args:
      matrices: [..., rows, columns]; tall ones are transposed internally.
      steps: number of iterations; 0 returns the matrices divided by their Frobenius norm.
      precision: "fp32" throughout; "bf16_operands" rounds the operands of every product to bf16 and
        keeps norm, accumulation and the carried X in fp32; "bf16" rounds every result, X included.

    Returns:
      fp32 array of the same shape.
    """
    *batch, rows, columns = matrices.shape
    tall = rows > columns
    operand, carry = formats(precision)
    # Batch axes of one element make XLA's products on a CPU up to twice as slow.
    x = matrices.reshape(*(n for n in batch if n != 1), rows, columns)
    x = normalise(jnp.swapaxes(x, -1, -2) if tall else x, precision)
    a, b, c = COEFFICIENTS

    def product(left: jax.Array, right: jax.Array) -> jax.Array:
        # "highest" is what makes fp32 products true fp32; 16-bit operands are exact as they are.
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
