"""Configurations of training runs: frozen dataclasses, the stages of the recipe, and files by name.

The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.train.config.batch_shapes import recipe_buckets
    from zipmap_jax.train.config.digest import config_digest, differences
    from zipmap_jax.train.config.registry import available, load
    from zipmap_jax.train.config.schema import (
        EmaConfig,
        LogConfig,
        MeshConfig,
        OptimConfig,
        StartConfig,
        TrainConfig,
    )
    from zipmap_jax.train.config.stages import STAGES, TrainingStage, stage

__all__ = [
    "STAGES",
    "EmaConfig",
    "LogConfig",
    "MeshConfig",
    "OptimConfig",
    "StartConfig",
    "TrainConfig",
    "TrainingStage",
    "available",
    "config_digest",
    "differences",
    "load",
    "recipe_buckets",
    "stage",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
