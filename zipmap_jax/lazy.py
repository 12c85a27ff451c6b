"""Public names of a package that are imported on first use, so that importing it stays fast."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names are imported on first use.

    The package imports its names under `if TYPE_CHECKING:`, which type checkers read and Python
    does not execute; those imports are where the names come from.

    Args:
      package: `__name__` of the package.
      file: `__file__` of the package.
    """
    homes = dict(_type_only_imports(file))

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*homes, *vars(sys.modules[package]).get("__all__", ())})

    return get, names


def _type_only_imports(file: str) -> Iterator[tuple[str, str]]:
    for node in ast.parse(Path(file).read_text("utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if not isinstance(line, ast.ImportFrom) or line.module is None:
                    raise ImportError(f"{file}: write `from module import name` for types alone")
                yield from ((alias.name, line.module) for alias in line.names)
