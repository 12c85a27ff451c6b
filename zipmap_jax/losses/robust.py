"""Guards shared by the losses: masked means, clamps, quantiles, all of fixed shape.

Masked entries are replaced by neutral values *before* any division, root or logarithm, because in
JAX a `where` afterwards does not keep NaN out of the gradients.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int

LIMIT = 100.0
"""Largest magnitude, in normalised units, that a target or an error may have."""


def clamp(x: Float[Array, "*n"], limit: float = LIMIT) -> Float[Array, "*n"]:
    """Non-finite entries become 0, the others are clipped to [-limit, limit]."""
    return jnp.clip(jnp.where(jnp.isfinite(x), x, 0.0), -limit, limit)


def masked_sum(x: Float[Array, "*n"], mask: Bool[Array, "*n"]) -> Float[Array, ""]:
    """Sum over the selected entries."""
    return jnp.sum(jnp.where(mask, x, 0.0))


def masked_mean(x: Float[Array, "*n"], mask: Bool[Array, "*n"]) -> Float[Array, ""]:
    """Mean over the selected entries; 0 if there are none."""
    return masked_sum(x, mask) / jnp.maximum(count(mask), 1)


def count(mask: Bool[Array, "*n"]) -> Int[Array, ""]:
    """Number of selected entries."""
    return jnp.sum(mask, dtype=jnp.int32)


def safe_norm(x: Float[Array, "*n c"]) -> Float[Array, "*n"]:
    """Euclidean length over the last axis, with gradient 0 where the length is 0."""
    square = jnp.sum(x * x, axis=-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def kth_smallest(x: Float[Array, " n"], k: Int[Array, ""]) -> Float[Array, ""]:
    """The entry of rank `k` (from 0) in ascending order, without a gradient.

    Bisection on the bit pattern: 32 passes that count, instead of a sort. Exact.

    Args:
      x: float32 entries without NaN.
      k: rank in [0, n).

    Returns:
      The entry.
    """
    sign = jnp.uint32(1 << 31)
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(x), jnp.uint32)
    keys = jnp.where(bits >= sign, ~bits, bits | sign)  # unsigned order = order of the floats

    def lower_bit(i: Int[Array, ""], found: Array) -> Array:
        candidate = found | (sign >> i.astype(jnp.uint32))
        below = jnp.sum(keys < candidate, dtype=jnp.int32)
        return jnp.where(below <= k, candidate, found)

    key = jax.lax.fori_loop(0, 32, lower_bit, jnp.uint32(0))
    return jax.lax.bitcast_convert_type(jnp.where(key >= sign, key ^ sign, ~key), jnp.float32)


def quantile_rank(quantile: float, number: Int[Array, ""]) -> Int[Array, ""]:
    """`round(quantile (number - 1))`, ties to even, in exact integer arithmetic.

    float32 cannot count the pixels of a batch (more than 2^24 of them are possible).
    """
    ratio = Fraction(quantile).limit_denominator(1000)
    whole, rest = jnp.divmod(jnp.maximum(number - 1, 0), ratio.denominator)
    doubled = 2 * rest * ratio.numerator
    floor = whole * ratio.numerator + doubled // (2 * ratio.denominator)
    excess = doubled % (2 * ratio.denominator) - ratio.denominator
    return floor + ((excess > 0) | ((excess == 0) & (floor % 2 == 1))).astype(jnp.int32)


def below_quantile(
    x: Float[Array, " n"], mask: Bool[Array, " n"], quantile: float, minimum: int = 1000
) -> Bool[Array, " n"]:
    """Selected entries under the quantile of the selected entries, cut at `LIMIT`.

    Nothing is dropped where `minimum` entries or fewer were selected or would be left.

    Args:
      x: entries, finite where selected.
      mask: the selection.
      quantile: in (0, 1); values at or above it go.
      minimum: see above.

    Returns:
      The entries to keep.

    Source: ZipMap, depth loss (outlier filter).
    """
    number = count(mask)

    def cut(values: Float[Array, " n"], mask: Bool[Array, " n"]) -> Bool[Array, " n"]:
        threshold = jnp.minimum(kth_smallest(values, quantile_rank(quantile, number)), LIMIT)
        keep = mask & (jnp.minimum(values, LIMIT) < threshold)
        return jnp.where(count(keep) > minimum, keep, mask)

    # Being an operand of `cond`, the entries are computed once. Fused into the search and again
    # into the comparison, they could round differently and miss their own threshold.
    values = jnp.where(mask, jax.lax.stop_gradient(x), jnp.inf)
    return jax.lax.cond(number > minimum, cut, lambda values, mask: mask, values, mask)
