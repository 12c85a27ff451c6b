"""Loops over leading axes, and buffers that are written in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from jaxtyping import Array

_T = TypeVar("_T")


def map_chunks(f: Callable[[Any], _T], xs: Any) -> _T:
    """`lax.map` over the leading axis, without a loop for one element."""
    if jax.tree.leaves(xs)[0].shape[0] > 1:
        return lax.map(f, xs)
    return jax.tree.map(lambda y: y[None], f(jax.tree.map(lambda x: x[0], xs)))


def scan_windows(f: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any) -> tuple[Any, Any]:
    """`lax.scan` over the leading axis, without a loop for one element."""
    if jax.tree.leaves(xs)[0].shape[0] > 1:
        return lax.scan(f, carry, xs)
    carry, y = f(carry, jax.tree.map(lambda x: x[0], xs))
    return carry, jax.tree.map(lambda leaf: leaf[None], y)


def fori_chunks(count: int, body: Callable[[Any, _T], _T], carry: _T) -> _T:
    """`fori_loop`, without a loop for one iteration."""
    return body(0, carry) if count == 1 else lax.fori_loop(0, count, body, carry)


def get(buffer: Array, i: Any) -> Array:
    """Read at a leading index."""
    return lax.dynamic_index_in_dim(buffer, i, 0, keepdims=False)


def put(buffer: Array, value: Array, *index: Any) -> Array:
    """Write at leading indices; unlike `.at[].set` never a scatter, so it stays in place."""
    # One integer type for all, whatever JAX's default is.
    start = [jnp.asarray(i, jnp.int32) for i in (*index, *(0 for _ in value.shape))]
    return lax.dynamic_update_slice(buffer, value[(None,) * len(index)], start)
