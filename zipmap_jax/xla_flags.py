"""Flags of XLA that must be set before JAX starts."""

from __future__ import annotations

import os

FUSED_LIBRARY_CALLS = "--xla_cpu_experimental_ynn_fusion_type"


def avoid_fused_reductions() -> None:
    """Compile reductions on a CPU without YNNPACK, whose fusions of training steps crash.

    With jaxlib 0.10.2 the process ends with a segmentation fault in `YnnFusionThunk`. Speed is the
    same. No effect if JAX has started; a value in the environment variable XLA_FLAGS remains.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if FUSED_LIBRARY_CALLS not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {FUSED_LIBRARY_CALLS}=-reduce".strip()
