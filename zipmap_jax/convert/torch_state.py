"""State dicts with the reference's names, from `.pt` or `.safetensors` files."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zipmap_jax.convert.identify import REMEDY, expected_shapes, identify
from zipmap_jax.convert.rules import check, convert_leaves, shapes_of
from zipmap_jax.convert.safetensors_file import read_safetensors
from zipmap_jax.convert.table import rules
from zipmap_jax.convert.torch_file import read_torch
from zipmap_jax.errors import UserError
from zipmap_jax.models.config import ZipMapConfig

_PREFIXES = ("module.", "_orig_mod.", "_forward_module.", "model.")
"""Prefixes of parallel, compiled and sharded modules, and of the module within a trainer's."""


def read_state(path: str | Path, *, ema: bool = False) -> dict[str, np.ndarray]:
    """Memory-maps the state dict of a `.safetensors` or `.pt` file.

    Prefixes that wrappers of modules add to all names (`module.`, `_orig_mod.`, ...) are removed,
    with a warning.

    Args:
      path: the file.
      ema: whether the averaged weights are read, see `read_torch`.

    Returns:
      Read-only arrays by name.

    Raises:
      UserError: the file has another format or is damaged.
      OSError: the file cannot be read.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return _without_prefixes(read_torch(path, ema=ema), path)
    if ema:
        raise UserError(f"{path} holds one set of weights, and no averaged ones: leave ema out")
    state = read_safetensors(path)
    if any("/" in name for name in state):
        raise UserError(f"{path} is already converted: pass the folder it is in")
    return _without_prefixes(state, path)


def _without_prefixes(state: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    removed = ""
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in state)), ""):
        state = {name.removeprefix(prefix): array for name, array in state.items()}
        removed += prefix
    if removed:
        warnings.warn(f"{path}: the prefix {removed} of all names is removed", stacklevel=3)
    return state


@dataclasses.dataclass(frozen=True)
class ZipMapState:
    """A ZipMap state dict with its configuration, which it matches.

    Attributes:
      state: arrays by the reference's names.
      config: configuration of the model.
      notes: remarks on values that the state dict does not determine.
    """

    state: dict[str, np.ndarray]
    config: ZipMapConfig
    notes: tuple[str, ...]

    def leaves(self, dtype: Any = np.float32) -> Iterator[tuple[str, np.ndarray]]:
        """Converts the state dict leaf by leaf.

        Args:
          dtype: number format of the leaves.

        Returns:
          Paths and arrays of the parameter tree, in the order of the rule table.
        """
        return convert_leaves(self.state, rules(self.config), dtype)


def open_zipmap(path: str | Path, *, variant: str | None = None, ema: bool = False) -> ZipMapState:
    """Opens, identifies and checks a checkpoint file of the reference.

    Args:
      path: the file, `.pt` or `.safetensors`.
      variant: see `identify`.
      ema: see `read_torch`.

    Returns:
      The state dict and its configuration.

    Raises:
      UserError: the file is not a complete ZipMap checkpoint.
      OSError: the file cannot be read.
    """
    path = Path(path)
    state = read_state(path, ema=ema)
    shapes = shapes_of(state)
    try:
        config, notes = identify(shapes, variant=variant, file_name=path.name)
        subject = f"as a {config.preset} {config.variant} model it"
        check(shapes, expected_shapes(config), subject=subject, remedy=REMEDY)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return ZipMapState(state, config, notes)
