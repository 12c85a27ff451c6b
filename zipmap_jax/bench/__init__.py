"""Speed and memory of programs, and their growth with the number of views.

`run` measures forward calls, `reconstructions` whole reconstructions, `training_rates` training
steps. The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.bench.memory_table import MemoryConfig
    from zipmap_jax.bench.reconstruction import reconstructions
    from zipmap_jax.bench.series import RuntimeConfig, RuntimeResult, run
    from zipmap_jax.bench.training import training_rates

__all__ = [
    "MemoryConfig",
    "RuntimeConfig",
    "RuntimeResult",
    "reconstructions",
    "run",
    "training_rates",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
