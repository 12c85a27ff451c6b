"""Pytrees: names of their leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    pass


def path_name(path: tuple[Any, ...]) -> str:
    """`a/b/c` of a pytree key path, of dictionaries, sequences and dataclasses alike."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
