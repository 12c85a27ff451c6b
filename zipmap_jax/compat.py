"""What JAX has no public name for, in one place."""

from __future__ import annotations

from typing import Any

from jax._src import distributed


def barrier(name: str, seconds: float) -> None:
    """Return when every process of the run has called this with the same name.

    Unlike `multihost_utils.sync_global_devices` it needs no devices: a collective gives up on the
    CPU when the others come half a minute later, which the compilation of a step may take.

    Args:
      name: used once in a run.
      seconds: to wait at most.

    Raises:
      jax.errors.JaxRuntimeError: a process did not come in time, or is gone.
    """
    client: Any = distributed.global_state.client
    client.wait_at_barrier(name, int(1000 * seconds))
