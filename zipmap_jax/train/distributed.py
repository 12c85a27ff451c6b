"""One program on many machines: how processes find each other and agree when to stop.

By hand:       train.py --coordinator HOST:PORT --processes N --process I    (or the environment
               variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID)
SLURM, cloud:  srun python train.py --distributed     (JAX asks SLURM, Open MPI, Kubernetes, TPUs)

A process works on all accelerators that it sees, unless JAX_LOCAL_DEVICE_IDS names some of them.
Of several SLURM tasks on a node that all see the same ones each takes the one of its number.
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
    """Connect to the other processes of the run, if there are any; call it before anything else.

    Args:
      coordinator: HOST:PORT of process 0, which all can reach.
      processes: their number.
      process: this one's, from 0.
      detect: let JAX ask the cluster (SLURM, Open MPI, Kubernetes, Cloud TPU) for all three.
      environment: where what is not given is looked up, see `VARIABLES`.

    Returns:
      Whether the run has several processes.

    Raises:
      UserError: only some of the three are known, or the run could not be joined.
    """
    if detect:
        # An empty list stands for all; None would have JAX give every task of SLURM a single one.
        chosen = environment.get("JAX_LOCAL_DEVICE_IDS") or _share_a_node(environment)
        try:
            jax.distributed.initialize(local_device_ids=None if chosen else [])
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"--distributed could not join a run of the cluster ({error}): give --coordinator, "
                "--processes and --process"
            ) from error
        return jax.process_count() > 1
    values = (coordinator, processes, process)
    given = [
        environment.get(name) if value in ("", None) else str(value)
        for name, value in zip(VARIABLES, values, strict=True)
    ]
    if not any(given):
        return False
    if not all(given):
        missing = [name for name, value in zip(VARIABLES, given, strict=True) if not value]
        raise UserError(
            f"this process cannot join a run without {', '.join(missing)}: set the variables, or "
            "--coordinator, --processes and --process, or --distributed on a cluster"
        )
    address, count, number = (str(value) for value in given)
    try:
        sizes = int(count), int(number)
    except ValueError:
        raise UserError(
            f"{VARIABLES[1]}={count} and {VARIABLES[2]}={number} must be whole numbers: "
            "correct them"
        ) from None
    # Within `srun`, too, what is given by hand is all there is to know.
    try:
        jax.distributed.initialize(address, *sizes, cluster_detection_method="deactivate")
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"process {sizes[1]} of {sizes[0]} could not join the run at {address} ({error}): "
            "check --coordinator, --processes and --process"
        ) from error
    return jax.process_count() > 1


def _share_a_node(environment: Mapping[str, str]) -> bool:
    """Whether several tasks of SLURM run on a node without GPUs of their own."""
    nodes = environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES")
    own = environment.get("SLURM_GPUS_PER_TASK")
    return (
        nodes is not None and int(environment.get("SLURM_NTASKS", nodes)) > int(nodes) and not own
    )


def is_first() -> bool:
    """Whether this process is the one that writes and talks."""
    return jax.process_index() == 0


PATIENCE = 3600.0
"""Seconds that processes wait for each other's compilation or export."""


def wait_for_all(what: str) -> None:
    """Return when every process has come here; `what` is said once in a run."""
    if jax.process_count() > 1:
        barrier(what, PATIENCE)


def leave(code: int) -> int:
    """The exit code; of several processes this one ends at once.

    The others may wait for it in the middle of a step: they learn of its end by its silence, while
    an orderly end would wait for them.
    """
    if jax.process_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def preempted(step: int) -> bool:
    """Whether all processes stop after this step, because one of them got SIGTERM.

    Every process calls it at every step. JAX catches the signal and agrees on a step that none has
    passed yet.
    """
    return multihost_utils.reached_preemption_sync_point(step)


def on_one_device(tree: Any, mesh: Mesh) -> Any:
    """Whole arrays on a device of this process; every process calls it."""
    if mesh.size == 1:
        return tree
    return jax.device_put(on_host(tree, mesh), jax.local_devices()[0])


def on_host(tree: Any, mesh: Mesh) -> Any:
    """Whole arrays as NumPy, from wherever the mesh holds their parts; every process calls it."""
    if jax.process_count() > 1:
        tree = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))(tree)
    return jax.device_get(tree)
