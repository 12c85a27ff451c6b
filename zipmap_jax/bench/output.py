"""Where a measurement is written: JSON for machines, Markdown and a picture for people."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from zipmap_jax.bench.plot import plot
from zipmap_jax.bench.report import markdown
from zipmap_jax.errors import UserError
from zipmap_jax.plain_json import dumps

if TYPE_CHECKING:
    from zipmap_jax.bench.series import Result


def write_result(result: Result, folder: Path, name: str = "runtime") -> None:
    """Write `name`.json and .md, and .svg where matplotlib is installed, replacing earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.json", dumps(result.as_dict(), indent=1) + "\n")
    write_whole(folder / f"{name}.md", markdown(result))
    try:
        write_whole(folder / f"{name}.svg", plot(result))
    except UserError as error:
        warnings.warn(f"{name}.svg is not written: {error}", stacklevel=2)


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, so that whoever is interrupted leaves the old one or the new."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, "utf-8")
    part.replace(path)
