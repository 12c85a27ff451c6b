"""Which implementation of an operation runs: XLA everywhere, Pallas on Hopper GPUs if asked.

The kernels are checked by an interpreter and compiled for an H200, but have not run on one. Until
the benchmark has shown them to be right and faster there, `PALLAS_KERNELS=1` in the environment is
needed for "auto" to choose them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
from jax import lax

Implementation = Literal["auto", "xla", "pallas"]
"""Who multiplies; "auto" is Pallas where it runs and is switched on, XLA elsewhere."""

SWITCH = "PALLAS_KERNELS"
"""Environment variable; "1" lets "auto" choose kernels."""


def check_implementation(name: str) -> None:
    """Raise a ValueError unless `name` is an implementation."""
    if name not in get_args(Implementation):
        raise ValueError(
            f"unknown implementation {name!r}: choose one of {', '.join(get_args(Implementation))}"
        )


def is_hopper(device: Any) -> bool:
    """Whether a device is a GPU of compute capability 9.0, such as an H100 or H200."""
    return device.platform == "gpu" and getattr(device, "compute_capability", "") == "9.0"


def kernels_run_here() -> bool:
    """Whether "auto" may choose a kernel for what is being traced.

    They must be switched on, and the first device be a Hopper GPU. Under a mesh of several devices
    the code must be inside `shard_map`: a kernel has no partitioning rule, and XLA would gather its
    operands.
    """
    if os.environ.get(SWITCH) != "1":
        return False
    mesh = jax.sharding.get_abstract_mesh()
    return is_hopper(jax.devices()[0]) and (mesh.size <= 1 or mesh.are_all_axes_manual)


def on_cuda(kernel: Callable[..., Any], reference: Callable[..., Any], *args: Any) -> Any:
    """`kernel(*args)` in programs for CUDA and `reference(*args)` in programs for other platforms.

    The choice is made when the program is lowered, not by the machine it is traced on.
    """
    return lax.platform_dependent(*args, cuda=kernel, default=reference)
