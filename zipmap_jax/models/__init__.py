"""ZipMap: configurations, presets, and the model as pure functions of explicit pytrees.

`build` returns the model of a preset. `Model` is the protocol that inference, evaluation and export
use, and that every model implements. The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.models.api import Model
    from zipmap_jax.models.config import ZipMapConfig
    from zipmap_jax.models.presets import build, preset
    from zipmap_jax.models.state import SceneState
    from zipmap_jax.models.zipmap import ZipMap

_HOMES = {
    "Model": "zipmap_jax.models.api",
    "SceneState": "zipmap_jax.models.state",
    "ZipMap": "zipmap_jax.models.zipmap",
    "ZipMapConfig": "zipmap_jax.models.config",
    "build": "zipmap_jax.models.presets",
    "preset": "zipmap_jax.models.presets",
}

__all__ = ["Model", "SceneState", "ZipMap", "ZipMapConfig", "build", "preset"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
