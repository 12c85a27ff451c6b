"""Sources of scenes by the name of their data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from zipmap_jax.data.datasets.posed_folder import PosedFolder
from zipmap_jax.data.datasets.table import DATA_SETS
from zipmap_jax.data.recorded import RecordedScenes
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.data.config import CropConfig
    from zipmap_jax.data.frame import Reader, SceneSource

READERS: dict[str, Callable[[Path], Reader]] = {PosedFolder.name: PosedFolder}
"""Recorded data sets: the reader of a folder, by name."""
PROCEDURAL = "procedural"


def open_source(
    name: str,
    root: Path,
    *,
    seed: int = 0,
    min_views: int = 1,
    crop: CropConfig | None = None,
    shuffle_views: bool = True,
    video_prob: float | None = None,
    max_interval: int | None = None,
) -> SceneSource:
    """Open a source of random scenes.

    Args:
      name: "procedural", or a key of `READERS`.
      root: folder of a recorded data set.
      seed, shuffle_views: of procedural scenes.
      min_views: frames of the shortest recorded sequence that is drawn, unless the table of data
        sets has a number for this data set.
      crop, video_prob, max_interval: of recorded scenes, see `RecordedScenes`.

    Raises:
      UserError: the name is unknown, or the folder has no usable sequence.
    """
    if name == PROCEDURAL:
        # Imported here: worker processes that only read files do not need JAX.
        from zipmap_jax.data.datasets.procedural import ProceduralScenes

        return ProceduralScenes(seed, shuffle_views)
    if name not in READERS:
        raise UserError(
            f"there is no data set {name!r}: choose from {', '.join([PROCEDURAL, *READERS])}"
        )
    min_views = _min_views(name, min_views)
    return RecordedScenes(READERS[name](root), min_views, crop, video_prob, max_interval)


def _min_views(name: str, default: int) -> int:
    row = DATA_SETS.get(name)
    return default if row is None or row.min_views is None else row.min_views
