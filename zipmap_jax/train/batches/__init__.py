"""Batches of a run: procedural scenes drawn on the devices, or recorded data from the loader.

A source is a function: `source(step)` returns the batch of a step, the same on any mesh and after a
resume. The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.train.batches.augment import jitter_colours, shuffle_views
    from zipmap_jax.train.batches.procedural import ProceduralSource
    from zipmap_jax.train.batches.query_split import split_batch, split_views
    from zipmap_jax.train.batches.recorded import LoadedSource

_HOMES = {
    "LoadedSource": "zipmap_jax.train.batches.recorded",
    "ProceduralSource": "zipmap_jax.train.batches.procedural",
    "jitter_colours": "zipmap_jax.train.batches.augment",
    "shuffle_views": "zipmap_jax.train.batches.augment",
    "split_batch": "zipmap_jax.train.batches.query_split",
    "split_views": "zipmap_jax.train.batches.query_split",
}

__all__ = [
    "LoadedSource",
    "ProceduralSource",
    "jitter_colours",
    "shuffle_views",
    "split_batch",
    "split_views",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.train.batches' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
