"""Output activations of the dense heads, by the names of the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float


def _inverse_log(y: Array) -> Array:
    return jnp.sign(y) * jnp.expm1(jnp.abs(y))


def _unit(x: Array) -> tuple[Array, Array]:
    length = jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-8)
    return x / length, length


def _norm_exp(x: Array) -> Array:
    direction, length = _unit(x)
    return direction * jnp.expm1(length)


def _xy_scaled(x: Array, depth: Array) -> Array:
    return jnp.concatenate([x[..., :2] * depth, depth], -1)


VALUES: dict[str, Callable[[Array], Array]] = {
    "exp": jnp.exp,
    "xy_exp": lambda x: _xy_scaled(x, jnp.exp(x[..., 2:3])),
    "sigmoid_exp": lambda x: jnp.concatenate([jax.nn.sigmoid(x[..., :3]), jnp.exp(x[..., 3:])], -1),
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "linear": lambda x: x,
    "norm": lambda x: _unit(x)[0],
    "norm_exp": _norm_exp,
    "inv_log": _inverse_log,
    "xy_inv_log": lambda x: _xy_scaled(x, _inverse_log(x[..., 2:3])),
}
"""Activations of the value channels by name."""

CONFIDENCES: dict[str, Callable[[Array], Array]] = {
    "expp1": lambda c: 1 + jnp.exp(c),
    "expp0": jnp.exp,
    "sigmoid": jax.nn.sigmoid,
}
"""Activations of the confidence channel by name."""


def activate(
    raw: Float[Array, "... o"], value: str, confidence: str | None
) -> tuple[Float[Array, "... c"], Float[Array, "..."] | None]:
    """Values and confidence of the raw channels of a dense head, in fp32.

    Args:
      raw: output channels of the head; the last one is the confidence, if any.
      value: key of `VALUES`.
      confidence: key of `CONFIDENCES`; None = every channel is a value.

    Returns:
      The values, and the confidence or None.

    Raises:
      KeyError: an activation is unknown.
    """
    raw = raw.astype(jnp.float32)
    if confidence is None:
        return VALUES[value](raw), None
    return VALUES[value](raw[..., :-1]), CONFIDENCES[confidence](raw[..., -1])
