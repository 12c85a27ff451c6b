"""Masked means, clamps, norms and quantiles with finite gradients and fixed shapes.

Masked entries are replaced by neutral values *before* any division, root or logarithm, because in
JAX a `where` afterwards does not remove NaN from the gradients.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int

LIMIT = 100.0
"""Maximum magnitude, in normalised units, of targets and errors."""


def clamp(x: Float[Array, "*n"], limit: float = LIMIT) -> Float[Array, "*n"]:
    """Replaces non-finite entries by 0 and clips the others to [-limit, limit].

    Args:
      x: any array.
      limit: maximum magnitude.

    Returns:
      An array of finite entries.
    """
    return jnp.clip(jnp.where(jnp.isfinite(x), x, 0.0), -limit, limit)


def masked_sum(x: Float[Array, "*n"], mask: Bool[Array, "*n"]) -> Float[Array, ""]:
    """Sum over the selected entries.

    Args:
      x: entries, of any value where not selected.
      mask: the selection.

    Returns:
      The sum.
    """
    return jnp.sum(jnp.where(mask, x, 0.0))


def masked_mean(x: Float[Array, "*n"], mask: Bool[Array, "*n"]) -> Float[Array, ""]:
    """Mean over the selected entries.

    Args:
      x: entries, of any value where not selected.
      mask: the selection.

    Returns:
      The mean; 0 if no entry is selected.
    """
    return masked_sum(x, mask) / jnp.maximum(count(mask), 1)


def count(mask: Bool[Array, "*n"]) -> Int[Array, ""]:
    """Number of selected entries.

    Args:
      mask: the selection.

    Returns:
      The number, exact up to 2^31.
    """
    return jnp.sum(mask, dtype=jnp.int32)


def safe_norm(x: Float[Array, "*n c"]) -> Float[Array, "*n"]:
    """Euclidean norm over the last axis, with gradient 0 where the norm is 0.

    Args:
      x: vectors along the last axis.

    Returns:
      Their norms.
    """
    square = jnp.sum(x * x, axis=-1)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def kth_smallest(x: Float[Array, " n"], k: Int[Array, ""]) -> Float[Array, ""]:
    """The entry of rank `k` in ascending order, under `stop_gradient`.

    The algorithm is a bisection on the bit pattern: 32 passes that count, instead of a sort. It is
    exact.

    Args:
      x: float32 entries without NaN.
      k: rank in [0, n).

    Returns:
      The entry.
    """
    sign = jnp.uint32(1 << 31)
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(x), jnp.uint32)
    keys = jnp.where(bits >= sign, ~bits, bits | sign)  # unsigned order = order of the floats

    def lower_bit(i: Int[Array, ""], prefix: Array) -> Array:
        candidate = prefix | (sign >> i.astype(jnp.uint32))
        below = jnp.sum(keys < candidate, dtype=jnp.int32)
        return jnp.where(below <= k, candidate, prefix)

    key = jax.lax.fori_loop(0, 32, lower_bit, jnp.uint32(0))
    return jax.lax.bitcast_convert_type(jnp.where(key >= sign, key ^ sign, ~key), jnp.float32)


def quantile_rank(quantile: float, number: Int[Array, ""]) -> Int[Array, ""]:
    """Rank of a quantile, `round(quantile (number - 1))` with ties to even.

    Integer arithmetic makes it exact: a batch may have more than 2^24 pixels, which float32 cannot
    count.

    Args:
      quantile: in (0, 1).
      number: number of entries.

    Returns:
      The rank, from 0.
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
    """Selected entries below the quantile of the selected entries and below `LIMIT`.

    All selected entries are kept if `minimum` or fewer are selected or would remain.

    Args:
      x: entries, finite where selected.
      mask: the selection.
      quantile: in (0, 1); values at or above it are removed.
      minimum: see above.

    Returns:
      The entries to keep.

    Source: ZipMap (arXiv 2603.04385), depth loss (outlier filter).
    """
    number = count(mask)

    def cut(values: Float[Array, " n"], mask: Bool[Array, " n"]) -> Bool[Array, " n"]:
        threshold = jnp.minimum(kth_smallest(values, quantile_rank(quantile, number)), LIMIT)
        keep = mask & (jnp.minimum(values, LIMIT) < threshold)
        return jnp.where(count(keep) > minimum, keep, mask)

    # Operands of `cond` are computed once. If XLA fused the entries into the search and again into
    # the comparison, they could round differently and miss their own threshold.
    values = jnp.where(mask, jax.lax.stop_gradient(x), jnp.inf)
    return jax.lax.cond(number > minimum, cut, lambda values, mask: mask, values, mask)
