"""Options of the files of a scene, and their size on the disk."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from zipmap_jax.errors import UserError
from zipmap_jax.export.formats import FORMATS, Sizes
from zipmap_jax.export.output import OutputError, existing_parent

DepthType = Literal["float32", "float16"]


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Options of `write_all`, whose arguments they are.

    Attributes:
      conf_threshold, max_points, formats, depth_dtype: see `write_all`.
    """

    conf_threshold: float = 50.0
    max_points: int = 1_000_000
    formats: tuple[str, ...] | None = None
    depth_dtype: DepthType = "float32"

    @property
    def arguments(self) -> dict[str, Any]:
        """The options as arguments of `write_all`."""
        return dataclasses.asdict(self)


def check_formats(formats: Sequence[str] | None) -> list[str]:
    """Returns the selected formats in the order in which they are written; None = all.

    Raises:
      UserError: a name is unknown, or none is given.
    """
    for name in formats or ():
        if name not in FORMATS:
            raise UserError(f"{name!r} is no output format; choose among {', '.join(FORMATS)}.")
    if formats is not None and not formats:
        raise UserError(f"No output format is chosen; choose among {', '.join(FORMATS)}.")
    return [name for name in FORMATS if formats is None or name in formats]


def output_bytes(sizes: Iterable[tuple[int, int]], options: ExportOptions) -> int:
    """Returns an upper bound of the bytes that `write_all` writes.

    Args:
      sizes: (height, width) of the images of a scene.
      options: those of `write_all`.
    """
    pixels = [height * width for height, width in sizes]
    points = round(sum(pixels) * (1 - options.conf_threshold / 100))
    request = Sizes(
        len(pixels), sum(pixels), min(points, options.max_points), options.depth_dtype == "float16"
    )
    return sum(FORMATS[name].size(request) for name in check_formats(options.formats))


def check_free_space(out: Path, size: int) -> None:
    """Checks before any work that the disk has space for the output.

    Args:
      out: the output folder, which need not exist.
      size: bytes to write.

    Raises:
      OutputError: it has less.
    """
    parent = existing_parent(out)
    try:
        free = shutil.disk_usage(parent).free
    except OSError:  # unknown, as on some network drives
        return
    if size > free:
        raise OutputError(
            f"the output needs up to {megabytes(size)}, and the disk of {parent} has "
            f"{megabytes(free)} free; lower --output-size, choose --formats or another disk"
        )


def megabytes(size: float) -> str:
    """A number of bytes in MB or, from 10 GB, in GB."""
    return f"{size / 1e9:.0f} GB" if size >= 1e10 else f"{max(size / 1e6, 0.1):.3g} MB"
