"""Batches of a run: procedural scenes drawn on the devices, or recorded data from the loader.

A source is a function: `source(step)` returns the batch of a step, the same on any mesh and after a
resume. The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.train.batches.augment import jitter_colours, shuffle_views
    from zipmap_jax.train.batches.procedural import ProceduralSource
    from zipmap_jax.train.batches.query_split import split_batch, split_views
    from zipmap_jax.train.batches.recorded import LoadedSource

__all__ = [
    "LoadedSource",
    "ProceduralSource",
    "jitter_colours",
    "shuffle_views",
    "split_batch",
    "split_views",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
