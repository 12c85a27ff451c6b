"""Configurations of training runs: frozen dataclasses, the stages of the recipe, and files by name.

The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "EmaConfig": "zipmap_jax.train.config.schema",
    "LogConfig": "zipmap_jax.train.config.schema",
    "MeshConfig": "zipmap_jax.train.config.schema",
    "OptimConfig": "zipmap_jax.train.config.schema",
    "STAGES": "zipmap_jax.train.config.stages",
    "StartConfig": "zipmap_jax.train.config.schema",
    "TrainConfig": "zipmap_jax.train.config.schema",
    "TrainingStage": "zipmap_jax.train.config.stages",
    "available": "zipmap_jax.train.config.registry",
    "config_digest": "zipmap_jax.train.config.digest",
    "differences": "zipmap_jax.train.config.digest",
    "load": "zipmap_jax.train.config.registry",
    "recipe_buckets": "zipmap_jax.train.config.batch_shapes",
    "stage": "zipmap_jax.train.config.stages",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.train.config' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
