"""How a reconstruction is computed."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class ComputeOptions:
    """Which resources a reconstruction uses; none of them changes its result.

    Attributes:
      chunk: views worked on at a time; None = chosen by the memory that is free.
      devices: number of devices that share the views.
      scratch: folder in which a hidden folder takes the parts of a scene that do not fit in memory;
        None = the system's folder for temporary files.
    """

    chunk: int | None = None
    devices: int = 1
    scratch: Path | None = None
