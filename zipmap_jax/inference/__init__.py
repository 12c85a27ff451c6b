"""Reconstruction: compiled programs, memory plans, and the assembly of predictions as a scene.

`zipmap_jax.reconstruct` runs all steps; the names below are the steps, for applications that
reconstruct many scenes or run exported programs. They are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "Bucket": "buckets",
    "ComputeOptions": "options",
    "MemoryEstimate": "memory",
    "OfflineProgram": "offline_program",
    "Program": "compile",
    "SceneBuilder": "assemble",
    "ScenePlan": "scene_plan",
    "ServedProgram": "program_file",
    "StreamProgram": "stream_program",
    "StreamState": "stream_program",
    "bucket_of": "buckets",
    "compiled_update": "compile",
    "enable_compilation_cache": "compile",
    "estimate_memory": "memory",
    "free_memory": "memory",
    "load_program": "program_file",
    "plan_scene": "scene_plan",
    "predict": "reconstruct",
    "predict_scenes": "reconstruct",
    "read_views": "reconstruct",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
