"""Speed and memory of programs, and their growth with the number of views.

`run` measures forward calls, `reconstructions` whole reconstructions, `training_rates` training
steps. The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.bench.memory_table import MemoryConfig
    from zipmap_jax.bench.reconstruction import reconstructions
    from zipmap_jax.bench.series import RuntimeConfig, RuntimeResult, run
    from zipmap_jax.bench.training import training_rates

_HOMES = {
    "MemoryConfig": "zipmap_jax.bench.memory_table",
    "RuntimeConfig": "zipmap_jax.bench.series",
    "RuntimeResult": "zipmap_jax.bench.series",
    "reconstructions": "zipmap_jax.bench.reconstruction",
    "run": "zipmap_jax.bench.series",
    "training_rates": "zipmap_jax.bench.training",
}

__all__ = [
    "MemoryConfig",
    "RuntimeConfig",
    "RuntimeResult",
    "reconstructions",
    "run",
    "training_rates",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.bench' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
