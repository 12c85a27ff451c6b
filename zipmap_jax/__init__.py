"""ZipMap in JAX: images in, cameras, depth and a queryable scene state out.

The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import load
    from zipmap_jax.inference.program_file import load_program
    from zipmap_jax.inference.reconstruct import reconstruct
    from zipmap_jax.models.presets import preset
    from zipmap_jax.models.state import SceneState
    from zipmap_jax.models.zipmap import ZipMap
    from zipmap_jax.scene.scene import Scene
    from zipmap_jax.structs import Prediction, Views

__version__ = "0.1.0"

_HOMES = {
    "Prediction": "zipmap_jax.structs",
    "Scene": "zipmap_jax.scene.scene",
    "SceneState": "zipmap_jax.models.state",
    "Views": "zipmap_jax.structs",
    "ZipMap": "zipmap_jax.models.zipmap",
    "load": "zipmap_jax.convert.hub",
    "load_program": "zipmap_jax.inference.program_file",
    "preset": "zipmap_jax.models.presets",
    "reconstruct": "zipmap_jax.inference.reconstruct",
}

__all__ = [
    "Prediction",
    "Scene",
    "SceneState",
    "Views",
    "ZipMap",
    "__version__",
    "load",
    "load_program",
    "preset",
    "reconstruct",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
