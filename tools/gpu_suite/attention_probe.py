"""Availability, accuracy and speed of cuDNN's attention at the model's sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from zipmap_jax.bench.timing import timed
from zipmap_jax.nn.attention import attend

_VIEWS, _HEADS, _WIDTH = 4, 16, 64
_SECONDS = 5.0


def probe(tokens: int, backward: bool) -> dict[str, Any]:
    """Compare cuDNN with XLA in bf16, and both with XLA in true fp32.

    Args:
      tokens: number of tokens per view.
      backward: compare gradients instead of outputs.

    Returns:
      Median milliseconds and relative error of each implementation, or its error message.
    """
    keys = jax.random.split(jax.random.key(tokens), 3)
    shape = (_VIEWS, _HEADS, tokens, _WIDTH)
    exact = tuple(jax.random.normal(key, shape) for key in keys)
    rounded = tuple(x.astype(jnp.bfloat16) for x in exact)
    truth = _function("xla", backward)(*(x.astype(jnp.float32) for x in rounded))
    facts = {}
    for implementation in ("cudnn", "xla"):
        try:
            facts[implementation] = _facts(_function(implementation, backward), rounded, truth)
        except Exception as error:  # the probe reports every error of a library
            facts[implementation] = {"failed": f"{type(error).__name__}: {error}"[:500]}
    return facts


def _function(implementation: str, backward: bool) -> Callable[..., Any]:
    def forward(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attend(q, k, v, precision="highest", implementation=implementation)

    def gradients(q: jax.Array, k: jax.Array, v: jax.Array) -> Any:
        # With one weight per output, the gradients of the values differ.
        weight = jnp.sin(jnp.arange(q.size, dtype=jnp.float32)).reshape(q.shape)
        return jax.grad(lambda *qkv: (forward(*qkv) * weight).sum(), argnums=(0, 1, 2))(q, k, v)

    return jax.jit(gradients if backward else forward)


def _facts(f: Callable[..., Any], arguments: tuple[jax.Array, ...], truth: Any) -> dict[str, Any]:
    actual = f(*arguments)
    errors = jax.tree.leaves(jax.tree.map(_relative, actual, truth))
    timing = timed(lambda: f(*arguments), limit=_SECONDS)
    return {"milliseconds": 1e3 * timing.median, "relative_l2": max(errors)}


def _relative(actual: jax.Array, truth: jax.Array) -> float:
    difference = actual.astype(jnp.float32) - truth
    return float(jnp.linalg.norm(difference.ravel()) / jnp.linalg.norm(truth.ravel()))
