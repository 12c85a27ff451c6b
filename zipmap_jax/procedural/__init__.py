"""Endless random indoor and outdoor scenes, ray-cast on the device with exact depth and cameras.

    config = ProceduralConfig(views=6, height=112, width=112)
    batch = scene_batch(config, seed=0, index=step, batch=4)

The scenes are data for training, evaluation and the demo. `scene_batch` is a compiled JAX program
and a pure function of (seed, index); `held_out_batch` renders scenes that no training stream
contains.
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
