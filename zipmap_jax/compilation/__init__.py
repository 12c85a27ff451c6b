"""Properties of compiled programs: operations, device memory, and the compilation for an H200.

The functions need no particular device: `flops_of` reads a traced program, `program_memory` the
plan of a compiled one, and `compile_for` compiles for an H200 on a machine without a GPU. The names
below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.compilation.flops import PEAK_FLOPS, flops_of, peak_flops
    from zipmap_jax.compilation.memory import ProgramMemory, program_memory
    from zipmap_jax.compilation.target import compile_for, h200_sharding, has_cudnn

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

__getattr__, __dir__ = lazy_names(__name__, __file__)
