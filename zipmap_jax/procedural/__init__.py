"""Endless random indoor and outdoor scenes, ray-cast on the device with exact depth and cameras.

    config = ProceduralConfig(views=6, height=112, width=112)
    batch = scene_batch(config, seed=0, index=step, batch=4)

Unlike the recorded data sets this source is a jit-compiled JAX program for the main process.
"""

from __future__ import annotations

from zipmap_jax.procedural.config import ProceduralConfig
from zipmap_jax.procedural.scenes import (
    HELD_OUT_SEED,
    held_out_batch,
    render_batch,
    scene_batch,
)

__all__ = [
    "HELD_OUT_SEED",
    "ProceduralConfig",
    "held_out_batch",
    "render_batch",
    "scene_batch",
]
