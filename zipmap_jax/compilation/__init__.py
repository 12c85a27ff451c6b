"""Properties of compiled programs: operations, device memory, and the compilation for an H200.

The functions need no particular device: `flops_of` reads a traced program, `program_memory` the
plan of a compiled one, and `compile_for` compiles for an H200 on a machine without a GPU. The names
below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.compilation.flops import PEAK_FLOPS, flops_of, peak_flops
    from zipmap_jax.compilation.memory import ProgramMemory, program_memory
    from zipmap_jax.compilation.target import compile_for, h200_sharding, has_cudnn

_HOMES = {
    "PEAK_FLOPS": "zipmap_jax.compilation.flops",
    "ProgramMemory": "zipmap_jax.compilation.memory",
    "compile_for": "zipmap_jax.compilation.target",
    "flops_of": "zipmap_jax.compilation.flops",
    "h200_sharding": "zipmap_jax.compilation.target",
    "has_cudnn": "zipmap_jax.compilation.target",
    "peak_flops": "zipmap_jax.compilation.flops",
    "program_memory": "zipmap_jax.compilation.memory",
}

__all__ = [
    "PEAK_FLOPS",
    "ProgramMemory",
    "compile_for",
    "flops_of",
    "h200_sharding",
    "has_cudnn",
    "peak_flops",
    "program_memory",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.compilation' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
