"""Metrics, pictures and traces of a run, and the writers that receive them.

The names below are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.train.log.pictures import painter, rendered_sheet, sheet
    from zipmap_jax.train.log.profile import Profile
    from zipmap_jax.train.log.sink import Sink
    from zipmap_jax.train.log.writer import Writer

_HOMES = {
    "Profile": "zipmap_jax.train.log.profile",
    "Sink": "zipmap_jax.train.log.sink",
    "Writer": "zipmap_jax.train.log.writer",
    "painter": "zipmap_jax.train.log.pictures",
    "rendered_sheet": "zipmap_jax.train.log.pictures",
    "sheet": "zipmap_jax.train.log.pictures",
}

__all__ = [
    "Profile",
    "Sink",
    "Writer",
    "painter",
    "rendered_sheet",
    "sheet",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.train.log' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
