"""Tests run on eight fake CPU devices, in true fp32, and refuse silent rank promotion."""

from __future__ import annotations

import os

# Read once, when JAX starts. Tests compile far more than they compute: the lowest optimisation
# level halves their time.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
).strip()

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")
