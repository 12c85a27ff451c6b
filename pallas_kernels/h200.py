"""Compile Newton-Schulz for an H200 without a GPU and report registers, spills and memory.

    python -m pallas_kernels.h200 --shape 3x1024x2048

The compiler is needed: pip install jax-cuda13-plugin nvidia-cuda-nvcc nvidia-nvvm
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

MEMORY_BYTES = 150_754_820_096
"""Memory of the device."""

# XLA's GpuTargetConfig, from NVIDIA's data sheet of the H200 SXM and the CUDA occupancy tables.
TARGET = f"""
gpu_device_info {{
  cuda_compute_capability {{ major: 9 minor: 0 }}
  core_count: 132  fpus_per_core: 128  clock_rate_ghz: 1.98
  threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
  shared_memory_per_block: 49152  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  l2_cache_size: 62914560  memory_bandwidth: 4800000000000
  device_memory_size: {MEMORY_BYTES}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 13 minor: 0 patch: 0 }}
device_description_str: "NVIDIA H200"
"""


@dataclasses.dataclass(frozen=True)
class CompiledKernels:
    """Compilation result of five steps of Newton-Schulz in Pallas.

    Attributes:
      batch, rows, columns: shape of the gradients.
      kernels: number of kernel launches.
      registers: maximum number of registers per thread.
      spilled_bytes: bytes of spilled registers, in all kernels together.
      copies: number of array copies between launches.
      temporary_bytes: memory of the program in addition to its argument and its result.
    """

    batch: int
    rows: int
    columns: int
    kernels: int
    registers: int
    spilled_bytes: int
    copies: int
    temporary_bytes: int


def compiled_kernels(batch: int, rows: int, columns: int) -> CompiledKernels:
    """Compiles for one shape in a subprocess, because ptxas reports to the output of the process.

    Args:
      batch, rows, columns: shape of the gradients.

    Returns:
      The report of the compilers.

    Raises:
      RuntimeError: the compilation failed.
    """
    root = Path(__file__).parents[1]
    # ptxas may be installed as a Python package.
    folders = [folder / "bin" for folder in package_folders("nvidia.cu13")]
    inherited = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    settings = {
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
        "JAX_PLATFORMS": "cuda,cpu",
        "MOSAIC_GPU_DUMP_PTXAS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(root), inherited.get("PYTHONPATH")))),
        "PATH": os.pathsep.join([inherited.get("PATH", ""), *map(str, folders)]),
    }
    code = f"from pallas_kernels import h200; h200.compile_one({batch}, {rows}, {columns})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=inherited | settings
    )
    json_lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not json_lines:
        reason = (done.stderr.strip() or "no output").splitlines()[-1]
        raise RuntimeError(f"the kernels of {batch}x{rows}x{columns} did not compile: {reason}")
    report = done.stdout + done.stderr
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", report)]
    if not registers:
        raise RuntimeError("ptxas reported no registers: install nvidia-cuda-nvcc")
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", report))
    facts = json.loads(json_lines[0])
    return CompiledKernels(
        batch, rows, columns, registers=max(registers), spilled_bytes=spilled, **facts
    )


def compile_one(batch: int, rows: int, columns: int) -> None:
    """Compiles in this process, with the environment of `compiled_kernels`, and prints a report.

    Args:
      batch, rows, columns: shape of the gradients.
    """
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies
    from jax.sharding import NamedSharding, PartitionSpec

    from pallas_kernels import newton_schulz

    topology = topologies.get_topology_desc(platform="cuda", target_config=TARGET, topology="1x1x1")
    sharding = NamedSharding(topologies.make_mesh(topology, (1,), ("x",)), PartitionSpec())
    x = jax.ShapeDtypeStruct((batch, rows, columns), jnp.float32, sharding=sharding)
    f = functools.partial(newton_schulz, precision="bf16_operands", implementation="pallas")
    compiled: Any = jax.jit(f).lower(x).compile()
    text = compiled.as_text()
    facts = {
        "kernels": len(re.findall(r'custom_call_target="mosaic_gpu', text)),
        "copies": len(re.findall(r" copy(?:-start)?\(", text)),
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
    }
    print(json.dumps(facts))


def package_folders(package: str) -> list[Path]:
    """Folders of a namespace package without code.

    Args:
      package: dotted name.

    Returns:
      The folders; none if the package is not installed.
    """
    try:
        spec = util.find_spec(package)
    except ModuleNotFoundError:
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []


def main(arguments: list[str] | None = None) -> int:
    """Prints the `CompiledKernels` of one shape as JSON.

    Args:
      arguments: command line; None = `sys.argv[1:]`.

    Returns:
      The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pallas_kernels.h200", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--shape", default="3x1024x2048", metavar="BATCHxROWSxCOLUMNS")
    shape = parser.parse_args(arguments).shape
    if not re.fullmatch(r"\d+x\d+x\d+", shape):
        parser.error(f"--shape {shape} is not BATCHxROWSxCOLUMNS: use for example 3x1024x2048")
    print(json.dumps(dataclasses.asdict(compiled_kernels(*map(int, shape.split("x"))))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
