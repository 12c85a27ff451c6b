"""Training configurations from Python files."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zipmap_jax.train.config import TrainConfig


def load_config(path: Path) -> TrainConfig:
    """What `get_config()` of a Python file returns.

    Raises:
      ValueError: the file does not exist, or has no such function.
    """
    spec = importlib.util.spec_from_file_location("zipmap_jax_user_config", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"no configuration {path}: give a Python file with get_config()")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses in the file look themselves up there
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise ValueError(f"{path} has no get_config(): give a training configuration")
    return module.get_config()
