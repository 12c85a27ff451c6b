"""Training data on the host: sources of posed frames, their sampling and cropping, and the loader.

    with open_loader(config, steps=1000, seed=0) as batches:
        for batch in batches:
            ...

A batch is a pure function of (seed, step): it does not depend on the number of hosts or worker
processes, and a run resumes at any step. The names below are loaded on first use; importing the
package imports neither JAX nor grain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, __file__)
