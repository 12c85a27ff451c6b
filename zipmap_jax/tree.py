"""Pytrees: names and sizes of their leaves."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np


def path_name(path: tuple[Any, ...]) -> str:
    """Format a pytree key path as `a/b/c`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def tree_bytes(tree: Any) -> int:
    """Return the bytes of all arrays or array shapes of a pytree."""
    return sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree))
