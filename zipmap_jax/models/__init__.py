"""ZipMap: configurations, presets, and the model as pure functions of explicit pytrees.

`build` returns the model of a preset. `Model` is the protocol that inference, evaluation and export
use, and that every model implements. The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.models.api import Model
    from zipmap_jax.models.config import ZipMapConfig
    from zipmap_jax.models.presets import build, preset
    from zipmap_jax.models.state import SceneState
    from zipmap_jax.models.zipmap import ZipMap

__all__ = ["Model", "SceneState", "ZipMap", "ZipMapConfig", "build", "preset"]

__getattr__, __dir__ = lazy_names(__name__, __file__)
