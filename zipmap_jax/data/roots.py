"""Folders of the data sets of a run, and checks that they exist and can be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zipmap_jax.data.datasets.readers import PROCEDURAL, READERS
from zipmap_jax.data.datasets.table import DATA_SETS
from zipmap_jax.errors import UserError, nearest

if TYPE_CHECKING:
    from zipmap_jax.data.config import DataConfig, SourceConfig

KNOWN = (*DATA_SETS, *READERS, PROCEDURAL)
"""Names that a mixture may contain."""
REMEDY = (
    "give --data.root for all, or --data.mixture.NAME.root for one, or leave one out with "
    "--data.mixture.NAME.weight 0"
)


def root_of(source: SourceConfig, data: DataConfig) -> Path:
    """Return the folder of a data set."""
    return Path(source.root) if source.root else Path(data.root) / source.name


def missing_sources(data: DataConfig) -> list[SourceConfig]:
    """Return the data sets of positive weight whose folder does not exist.

    A run on procedural scenes (engine "device") uses no folder, so none is missing.

    Raises:
      UserError: the mixture contains an unknown name.
    """
    if data.engine == "device":
        return []
    for source in data.mixture:
        if source.name not in KNOWN:
            near = nearest(source.name, KNOWN)
            raise UserError(f"there is no data set {source.name!r}: did you mean {near!r}?")
    return [
        source
        for source in data.mixture
        if source.weight > 0 and source.name != PROCEDURAL and not root_of(source, data).is_dir()
    ]


def unreadable_sources(data: DataConfig) -> list[SourceConfig]:
    """Return the data sets of positive weight that have no reader yet."""
    if data.engine == "device":
        return []
    readable = (*READERS, PROCEDURAL)
    return [s for s in data.mixture if s.weight > 0 and s.name not in readable]


def no_reader(sources: list[SourceConfig]) -> str:
    """Return the error message for data sets without a reader."""
    return (
        f"this version has no reader for {', '.join(s.name for s in sources)}: "
        "leave them out with --data.mixture.NAME.weight 0"
    )


def require_sources(data: DataConfig) -> None:
    """Check that every data set of a run exists and can be read, before anything is compiled.

    Raises:
      UserError: data sets are missing; the message names all of them.
    """
    if data.engine == "loader" and not any(s.weight > 0 for s in data.mixture):
        raise UserError("the mixture is empty: name data sets, or choose --data.engine device")
    if missing := missing_sources(data):
        where = ", ".join(f"{s.name} ({root_of(s, data)})" for s in missing)
        raise UserError(
            f"{len(missing)} of the {len(data.mixture)} data sets of the mixture are "
            f"missing: {where}; {REMEDY}"
        )
    if unreadable := unreadable_sources(data):
        raise UserError(no_reader(unreadable))
