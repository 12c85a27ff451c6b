"""Metrics, pictures and traces of a run, and the writers that receive them.

The names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.train.log.pictures import painter, rendered_sheet, sheet
    from zipmap_jax.train.log.profile import Profile
    from zipmap_jax.train.log.sink import Sink
    from zipmap_jax.train.log.writer import Writer

__all__ = [
    "Profile",
    "Sink",
    "Writer",
    "painter",
    "rendered_sheet",
    "sheet",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
