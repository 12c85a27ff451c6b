"""Functions of JAX without a public name."""

from __future__ import annotations

from typing import Any

from jax._src import distributed


def barrier(name: str, seconds: float) -> None:
    """Wait until every process of the run has called this with the same name.

    Unlike `multihost_utils.sync_global_devices` it uses no collective: on the CPU, collectives time
    out after half a minute, which is less than the compilation of a step may take.

    Args:
      name: used once in a run.
      seconds: timeout.

    Raises:
      jax.errors.JaxRuntimeError: a process did not call it in time, or has ended.
    """
    client: Any = distributed.global_state.client
    client.wait_at_barrier(name, int(1000 * seconds))
