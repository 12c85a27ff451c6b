"""Choice of an implementation: XLA on all platforms, Pallas on Hopper GPUs if it is enabled.

The kernels are tested in an interpreter and compiled for an H200, but have not run on one. Until
the benchmark has confirmed their results and speed there, "auto" chooses them only with
`PALLAS_KERNELS=1` in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
from jax import lax

Implementation = Literal["auto", "xla", "pallas"]
"""Names of the implementations; "auto" is Pallas where it runs and is enabled, otherwise XLA."""

SWITCH = "PALLAS_KERNELS"
"""Environment variable; "1" enables kernels for "auto"."""


def check_implementation(name: str) -> None:
    """Checks the name of an implementation.

    Args:
      name: the name.

    Raises:
      ValueError: `name` is not an `Implementation`.
    """
    if name not in get_args(Implementation):
        raise ValueError(
            f"unknown implementation {name!r}: choose one of {', '.join(get_args(Implementation))}"
        )


def is_hopper(device: Any) -> bool:
    """Whether a device is a GPU of compute capability 9.0, such as an H100 or H200."""
    return device.platform == "gpu" and getattr(device, "compute_capability", "") == "9.0"


def kernels_run_here() -> bool:
    """Whether "auto" may choose a kernel in the function that is being traced.

    Kernels must be enabled, and the first device must be a Hopper GPU. Under a mesh of several
    devices the code must be inside `shard_map`, because a kernel has no partitioning rule and XLA
    would gather its operands.
    """
    if os.environ.get(SWITCH) != "1":
        return False
    mesh = jax.sharding.get_abstract_mesh()
    return is_hopper(jax.devices()[0]) and (mesh.size <= 1 or mesh.are_all_axes_manual)


def on_cuda(kernel: Callable[..., Any], reference: Callable[..., Any], *args: Any) -> Any:
    """Calls `kernel` in programs for CUDA and `reference` in programs for other platforms.

    The choice depends on the platform that the program is lowered for, not on the tracing machine.

    Args:
      kernel, reference: functions of equal results.
      *args: their arguments.

    Returns:
      The result.
    """
    return lax.platform_dependent(*args, cuda=kernel, default=reference)
