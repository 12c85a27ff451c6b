"""Reconstruction: compiled programs, memory plans, and the assembly of predictions as a scene.

`zipmap_jax.reconstruct` runs all steps; the names below are the steps, for applications that
reconstruct many scenes or run exported programs. They are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.inference.assemble import SceneBuilder
    from zipmap_jax.inference.buckets import Bucket, bucket_of
    from zipmap_jax.inference.compile import Program, compiled_update, enable_compilation_cache
    from zipmap_jax.inference.memory import MemoryEstimate, estimate_memory, free_memory
    from zipmap_jax.inference.offline_program import OfflineProgram
    from zipmap_jax.inference.options import ComputeOptions
    from zipmap_jax.inference.program_file import ServedProgram, load_program
    from zipmap_jax.inference.reconstruct import predict, predict_scenes, read_views
    from zipmap_jax.inference.scene_plan import ScenePlan, plan_scene
    from zipmap_jax.inference.stream_program import StreamProgram, StreamState

__all__ = [
    "Bucket",
    "ComputeOptions",
    "MemoryEstimate",
    "OfflineProgram",
    "Program",
    "SceneBuilder",
    "ScenePlan",
    "ServedProgram",
    "StreamProgram",
    "StreamState",
    "bucket_of",
    "compiled_update",
    "enable_compilation_cache",
    "estimate_memory",
    "free_memory",
    "load_program",
    "plan_scene",
    "predict",
    "predict_scenes",
    "read_views",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
