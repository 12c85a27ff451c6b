"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zipmap_jax.data.datasets.posed_folder import PosedFolder
from zipmap_jax.data.recorded import RecordedScenes
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.data.frame import Reader, SceneSource

READERS: Mapping[str, Callable[[Path], Reader]] = {PosedFolder.name: PosedFolder}
"""Recorded data sets: the reader of a folder."""
PROCEDURAL = "procedural"


def open_source(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    min_views: int = 1,
    scales: tuple[float, float] | None = None,
    zoom: float = 0.0,
    shuffle_views: bool = True,
    video_prob: float | None = None,
    max_interval: int | None = None,
) -> SceneSource:
    """A source of random scenes.

    Args:
      name: "procedural", or a key of `READERS`.
      root: folder of a recorded data set.
      seed, shuffle_views: of procedural scenes.
      min_views, scales, zoom, video_prob, max_interval: of recorded ones, see `RecordedScenes`.

    Raises:
      UserError: there is no such data set, or its folder holds nothing usable.
    """
    if name == PROCEDURAL:
        # Workers that read files only are spared the import of JAX.
        from zipmap_jax.data.datasets.procedural import ProceduralScenes

        return ProceduralScenes(seed, shuffle_views)
    if name not in READERS:
        raise UserError(
            f"there is no data set {name!r}: choose from {', '.join([PROCEDURAL, *READERS])}"
        )
    return RecordedScenes(READERS[name](root), min_views, scales, zoom, video_prob, max_interval)
