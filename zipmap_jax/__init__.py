"""ZipMap in JAX: images in, cameras, depth and a queryable scene state out.

The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names
from zipmap_jax.xla_flags import avoid_fused_reductions

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

avoid_fused_reductions()

__getattr__, __dir__ = lazy_names(__name__, __file__)
