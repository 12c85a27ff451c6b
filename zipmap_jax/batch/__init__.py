"""Reconstruction of many scenes: resumable, and split over processes.

`run_batch` writes one folder per scene and records the outcomes in a `Journal`. The names below are
imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.batch.journal import Journal
    from zipmap_jax.batch.plan import BatchOptions
    from zipmap_jax.batch.run import run_batch
    from zipmap_jax.batch.scenes import SceneInput, list_scenes

__all__ = ["BatchOptions", "Journal", "SceneInput", "list_scenes", "run_batch"]

__getattr__, __dir__ = lazy_names(__name__, __file__)
