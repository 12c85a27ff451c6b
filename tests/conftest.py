"""Tests run on eight fake CPU devices, in true fp32, and refuse silent rank promotion."""

from __future__ import annotations

import os

from tests.quick import QUICK

# Read once, when JAX starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    (os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8", QUICK)
).strip()

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")
