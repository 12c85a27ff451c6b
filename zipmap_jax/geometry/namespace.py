"""The array library of a function's arguments."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A NumPy or a JAX array; a function returns arrays of the library of its arguments."""


def array_namespace(*arrays: object) -> ModuleType:
    """Returns `numpy` if every argument is host data, else `jax.numpy`.

    JAX is imported only for a JAX array, so data workers never load it.

    Args:
      *arrays: NumPy arrays, Python numbers, JAX arrays or tracers.

    Returns:
      The module whose functions accept all arguments.
    """
    if all(isinstance(a, np.ndarray | np.generic | int | float) for a in arrays):
        return np
    import jax.numpy as jnp

    return jnp
