"""Runs of several processes: connection, barriers, and the step after which all stop.

Explicitly:    train.py --coordinator HOST:PORT --processes N --process I    (or the environment
               variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID)
SLURM, cloud:  srun python train.py --distributed     (SLURM, Open MPI, Kubernetes, TPUs)

A process uses all visible accelerators, or those of JAX_LOCAL_DEVICE_IDS. If several SLURM tasks on
a node see the same accelerators, each uses the one of its number.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from zipmap_jax.compat import barrier
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jax.sharding import Mesh

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def join(
    coordinator: str = "",
    processes: int | None = None,
    process: int | None = None,
    *,
    detect: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> bool:
    """Connect to the other processes of the run; call it before any other JAX function.

    Args:
      coordinator: HOST:PORT of process 0.
      processes: number of processes.
      process: number of this one, from 0.
      detect: let JAX get all three from SLURM, Open MPI, Kubernetes or Cloud TPU.
      environment: provides missing values, see `VARIABLES`.

    Returns:
      Whether the run has several processes.

    Raises:
      UserError: only some of the three are known, or the connection failed.
    """
    if detect:
        # An empty list selects all devices; with None, JAX selects one for every SLURM task.
        automatic = environment.get("JAX_LOCAL_DEVICE_IDS") or _share_a_node(environment)
        try:
            jax.distributed.initialize(local_device_ids=None if automatic else [])
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"--distributed could not join a run of the cluster ({error}): give --coordinator, "
                "--processes and --process"
            ) from error
        return jax.process_count() > 1
    options = (coordinator, processes, process)
    values = [
        environment.get(name) if option in ("", None) else str(option)
        for name, option in zip(VARIABLES, options, strict=True)
    ]
    if not any(values):
        return False
    if not all(values):
        missing = [name for name, value in zip(VARIABLES, values, strict=True) if not value]
        raise UserError(
            f"this process cannot join a run without {', '.join(missing)}: set the variables, or "
            "--coordinator, --processes and --process, or --distributed on a cluster"
        )
    address, count, number = (str(value) for value in values)
    try:
        sizes = int(count), int(number)
    except ValueError:
        raise UserError(
            f"{VARIABLES[1]}={count} and {VARIABLES[2]}={number} must be whole numbers: "
            "correct them"
        ) from None
    # Explicit values also take precedence within `srun`.
    try:
        jax.distributed.initialize(address, *sizes, cluster_detection_method="deactivate")
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"process {sizes[1]} of {sizes[0]} could not join the run at {address} ({error}): "
            "check --coordinator, --processes and --process"
        ) from error
    return jax.process_count() > 1


def _share_a_node(environment: Mapping[str, str]) -> bool:
    """Whether several SLURM tasks run on a node and share its GPUs."""
    nodes = environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES")
    if nodes is None or environment.get("SLURM_GPUS_PER_TASK"):
        return False
    return int(environment.get("SLURM_NTASKS", nodes)) > int(nodes)


def is_first() -> bool:
    """Whether this process writes files and prints."""
    return jax.process_index() == 0


TIMEOUT = 3600.0
"""Seconds that processes wait for each other's compilation or export."""


def wait_for_all(name: str) -> None:
    """Wait until every process has called this with the same name, which is used once in a run."""
    if jax.process_count() > 1:
        barrier(name, TIMEOUT)


def leave(code: int) -> int:
    """Return the exit code, or end this process at once if the run has several.

    An orderly end would wait for the other processes, which may wait for this one within a step.
    They end when its connection times out.
    """
    if jax.process_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def preempted(step: int) -> bool:
    """Whether all processes stop after this step because one received SIGTERM.

    Every process calls it at every step. JAX catches the signal and chooses a step that no process
    has completed yet.
    """
    return multihost_utils.reached_preemption_sync_point(step)


def on_one_device(tree: Any, mesh: Mesh) -> Any:
    """Gather sharded arrays on one device of this process; every process calls it."""
    if mesh.size == 1:
        return tree
    return jax.device_put(on_host(tree, mesh), jax.local_devices()[0])


def on_host(tree: Any, mesh: Mesh) -> Any:
    """Gather sharded arrays as NumPy; every process calls it."""
    if jax.process_count() > 1:
        tree = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))(tree)
    return jax.device_get(tree)
