"""XLA flags that halve the compilation time on a CPU; the programs of tests are small."""

from __future__ import annotations

from importlib.metadata import version

QUICK = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
FUSED: dict[str, bool] = {}
"""Options of `jax.jit` for tests of rounding: programs fuse, and round, as those of users do."""
if version("jaxlib").startswith("0.10."):  # later ones have one way to emit fusions
    QUICK += " --xla_cpu_use_fusion_emitters=false"
    FUSED["xla_cpu_use_fusion_emitters"] = True
