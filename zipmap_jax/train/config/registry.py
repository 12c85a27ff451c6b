"""Configurations by name or file: the recipe's stages, and `configs/` of a source tree."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from pathlib import Path

from zipmap_jax.errors import UserError, nearest
from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import STAGES, stage

ROOT = Path(__file__).parents[3]


def available() -> dict[str, str]:
    """Return the name and first sentence of every named configuration."""
    stages = {name: row.about for name, row in STAGES.items()}
    return stages | {path.stem: _about(path) for path in _files() if path.stem not in stages}


def load(name: str | Path) -> TrainConfig:
    """Load a configuration.

    Args:
      name: a name of `available`, or a Python file with `get_config()`.

    Raises:
      UserError: no such file or name exists, or the file returns no configuration.
    """
    path = Path(name)
    if path.suffix != ".py":
        by_name = {file.stem: file for file in _files()}
        if str(name) not in by_name and str(name) in STAGES:
            return stage(str(name))
        path = by_name.get(str(name), path)
    if not path.is_file():
        near = nearest(path.stem, available())
        raise UserError(
            f"no configuration {name}: give a Python file with get_config(), or one of the names "
            f"that `zipmap config list` prints (did you mean {near}?)"
        )
    return _from_file(path)


def _from_file(path: Path) -> TrainConfig:
    spec = importlib.util.spec_from_file_location("zipmap_jax_user_config", path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses in the file need their module here
    try:
        spec.loader.exec_module(module)
        config = module.get_config() if hasattr(module, "get_config") else None
    except UserError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise UserError(
            f"{path} cannot be run as a configuration ({type(error).__name__}: "
            f"{error}{_line_of(error, path)}): correct it"
        ) from error
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path} has no get_config() that returns a TrainConfig: add one")
    return config


def _line_of(error: Exception, path: Path) -> str:
    """The line of the file that raised an error; the text of a SyntaxError contains it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path.absolute())]
    return f", line {lines[-1]}" if lines else ""


def _files() -> list[Path]:
    """`configs/*.py` of the source tree; empty for an installed package."""
    in_source_tree = (ROOT / "train.py").is_file()
    return sorted((ROOT / "configs").glob("*.py")) if in_source_tree else []


def _about(path: Path) -> str:
    try:
        doc = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (SyntaxError, ValueError) as error:
        return f"cannot be read: {error}"
    return " ".join(doc.partition("\n\n")[0].split()).rstrip(".")
