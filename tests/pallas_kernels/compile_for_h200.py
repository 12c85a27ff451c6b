"""Compile Newton-Schulz for an H200 on a machine without one; run by `test_compilation`.

Prints a line of JSON; ptxas reports registers and spills beside it.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import sys
from importlib import util
from pathlib import Path

os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
os.environ["JAX_PLATFORMS"] = "cuda,cpu"
os.environ["MOSAIC_GPU_DUMP_PTXAS"] = "1"

H200 = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132  fpus_per_core: 128  clock_rate_ghz: 1.98
  threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
  shared_memory_per_block: 49152  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  l2_cache_size: 62914560  memory_bandwidth: 4800000000000  device_memory_size: 150754820096
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H200"
"""


def main(batch: int, rows: int, columns: int) -> None:
    spec = util.find_spec("nvidia.cu13")
    if shutil.which("ptxas") is None and spec and spec.submodule_search_locations:
        os.environ["PATH"] += f":{Path(next(iter(spec.submodule_search_locations))) / 'bin'}"
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies

    from pallas_kernels import newton_schulz

    topology = topologies.get_topology_desc(platform="cuda", target_config=H200, topology="1x1x1")
    sharding = jax.sharding.NamedSharding(
        topologies.make_mesh(topology, (1,), ("x",)), jax.sharding.PartitionSpec()
    )
    x = jax.ShapeDtypeStruct((batch, rows, columns), jnp.float32, sharding=sharding)
    f = functools.partial(newton_schulz, precision="bf16_operands", implementation="pallas")
    compiled = jax.jit(f).lower(x).compile()
    text = compiled.as_text()
    print(
        json.dumps(
            {
                "kernels": len(re.findall(r'custom_call_target="mosaic_gpu', text)),
                "copies": len(re.findall(r" copy(?:-start)?\(", text)),
                "temp_bytes": compiled.memory_analysis().temp_size_in_bytes,
            }
        )
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
