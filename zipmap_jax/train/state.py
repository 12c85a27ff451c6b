"""The training state as one pytree."""

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
      step: number of completed steps, including skipped ones.
      params: fp32 parameters.
      opt_state: moments of the optimizer.
      ema: moving average of `params`, equal to them until it starts.
      skipped: number of steps without update because of non-finite values.
      skipped_in_row: number of skipped steps since the last update.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: Any
    ema: Any
    skipped: Int[Array, ""]
    skipped_in_row: Int[Array, ""]


def initial_state(params: Any, config: OptimConfig) -> TrainState:
    """Return the state before the first step."""

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
