"""Reconstruction of many scenes: resumable, and split over processes.

`run_batch` writes one folder per scene and records the outcomes in a `Journal`. The names below are
imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.batch.journal import Journal
    from zipmap_jax.batch.plan import BatchOptions
    from zipmap_jax.batch.run import run_batch
    from zipmap_jax.batch.scenes import SceneInput, list_scenes

_HOMES = {
    "BatchOptions": "zipmap_jax.batch.plan",
    "Journal": "zipmap_jax.batch.journal",
    "SceneInput": "zipmap_jax.batch.scenes",
    "list_scenes": "zipmap_jax.batch.scenes",
    "run_batch": "zipmap_jax.batch.run",
}

__all__ = ["BatchOptions", "Journal", "SceneInput", "list_scenes", "run_batch"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.batch' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
