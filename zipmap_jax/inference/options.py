"""Options for the resources of a reconstruction."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class ComputeOptions:
    """Resources of a reconstruction, which do not change its result.

    Attributes:
      chunk: views per device at a time, which bounds memory; None = chosen by the free memory.
      devices: number of devices, the first of this process, which share the views.
      scratch: where a hidden folder holds the parts of the scene that do not fit in memory, until
        the scene is no longer referenced; None = the system's folder for temporary files.
    """

    chunk: int | None = None
    devices: int = 1
    scratch: Path | None = None
