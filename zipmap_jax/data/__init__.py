"""Training data on the host: sources of posed frames, their sampling and cropping, and the loader.

    with open_loader(config, steps=1000, seed=0) as batches:
        for batch in batches:
            ...

A batch is a pure function of (seed, step): it does not depend on the number of hosts or worker
processes, and a run resumes at any step. The names below are loaded on first use; importing the
package imports neither JAX nor grain.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.data.config import (
        BatchShape,
        CropConfig,
        DataConfig,
        JitterConfig,
        SourceConfig,
    )
    from zipmap_jax.data.datasets.mixtures import mixture
    from zipmap_jax.data.datasets.readers import open_source
    from zipmap_jax.data.datasets.table import DATA_SETS
    from zipmap_jax.data.frame import PosedFrame, Reader, SceneSource, SceneViews
    from zipmap_jax.data.loader import Loader
    from zipmap_jax.data.open import open_loader

_HOMES = {
    "BatchShape": "zipmap_jax.data.config",
    "CropConfig": "zipmap_jax.data.config",
    "DATA_SETS": "zipmap_jax.data.datasets.table",
    "DataConfig": "zipmap_jax.data.config",
    "JitterConfig": "zipmap_jax.data.config",
    "Loader": "zipmap_jax.data.loader",
    "PosedFrame": "zipmap_jax.data.frame",
    "Reader": "zipmap_jax.data.frame",
    "SceneSource": "zipmap_jax.data.frame",
    "SceneViews": "zipmap_jax.data.frame",
    "SourceConfig": "zipmap_jax.data.config",
    "mixture": "zipmap_jax.data.datasets.mixtures",
    "open_loader": "zipmap_jax.data.open",
    "open_source": "zipmap_jax.data.datasets.readers",
}

__all__ = [
    "DATA_SETS",
    "BatchShape",
    "CropConfig",
    "DataConfig",
    "JitterConfig",
    "Loader",
    "PosedFrame",
    "Reader",
    "SceneSource",
    "SceneViews",
    "SourceConfig",
    "mixture",
    "open_loader",
    "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.data' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
