"""Everything that training changes, as one pytree."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.train.optimizer import update_rule

if TYPE_CHECKING:
    from jaxtyping import Array, Int

    from zipmap_jax.train.config.schema import OptimConfig


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """State of a run between two steps.

    Attributes:
      step: steps made, skipped ones included.
      params: fp32 parameters.
      opt_state: Adam's moments.
      ema: moving average of `params` (equal to them until it starts).
      skipped: steps whose update was left out because something was not finite.
      skipped_in_row: the same, since the last good step.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: Any
    ema: Any
    skipped: Int[Array, ""]
    skipped_in_row: Int[Array, ""]


def initial_state(params: Any, config: OptimConfig) -> TrainState:
    """State before the first step."""

    def zero() -> jax.Array:  # one buffer per counter: donated buffers may not be shared
        return jnp.zeros((), jnp.int32)

    return TrainState(
        step=zero(),
        params=params,
        opt_state=update_rule(config).init(params),
        ema=jax.tree.map(jnp.copy, params),
        skipped=zero(),
        skipped_in_row=zero(),
    )
