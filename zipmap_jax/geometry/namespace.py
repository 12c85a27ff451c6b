"""Which array library a function should compute with."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A NumPy or a JAX array: results are of the kind of the arguments."""


def array_namespace(*arrays: object) -> ModuleType:
    """`numpy` if every argument is host data, else `jax.numpy`.

    JAX is imported only when a JAX array arrives, so data workers never load it.

    Args:
      *arrays: NumPy arrays, Python numbers, JAX arrays or tracers.

    Returns:
      The module whose functions accept all of them.
    """
    if all(isinstance(a, np.ndarray | np.generic | int | float) for a in arrays):
        return np
    import jax.numpy as jnp

    return jnp
