"""Compilation for an H200 on a machine without a GPU, to obtain the compiler's memory plan."""

from __future__ import annotations

import os
import shutil
from importlib import util
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec

from pallas_kernels.h200 import TARGET, package_folders
from zipmap_jax.errors import UserError


def h200_sharding() -> NamedSharding:
    """Sharding of arrays on one H200, for the abstract arguments of a program.

    Returns:
      A sharding over a topology of one device.

    Raises:
      UserError: the compiler for CUDA is not installed.
    """
    missing = _missing()
    if missing:
        raise UserError(
            f"compiling for an H200 needs {' and '.join(missing)}, though no GPU: "
            'pip install "zipmap-jax[cuda]"'
        )
    os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
    topology = topologies.get_topology_desc(platform="cuda", target_config=TARGET, topology="1x1x1")
    return NamedSharding(topologies.make_mesh(topology, (1,), ("device",)), PartitionSpec())


def compile_for(sharding: NamedSharding | None, jitted: Any, shapes: Any) -> Any:
    """Compiles a function for the device of a sharding.

    Args:
      sharding: sharding of all arguments, such as `h200_sharding()`; None = the default device.
      jitted: the result of `jax.jit`.
      shapes: arrays or `jax.ShapeDtypeStruct`s, one pytree per argument.

    Returns:
      A `jax.stages.Compiled`.
    """
    if sharding is None:
        return jitted.lower(*shapes).compile()

    def placed(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jitted.lower(*jax.tree.map(placed, shapes)).compile()


def has_cudnn() -> bool:
    """Whether cuDNN is installed, which the compilation of its attention needs."""
    return _installed("nvidia.cudnn")


def _missing() -> list[str]:
    """Names of the packages of the compiler that are not installed."""
    missing = [] if _installed("jax_cuda13_plugin") else ["jax-cuda13-plugin"]
    folders = package_folders("nvidia.cu13")
    if not shutil.which("ptxas") and not any((f / "bin/ptxas").exists() for f in folders):
        missing.append("nvidia-cuda-nvcc")
    if not shutil.which("nvcc") and not any((f / "nvvm/libdevice").exists() for f in folders):
        missing.append("nvidia-nvvm")
    return missing


def _installed(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
