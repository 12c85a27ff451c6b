"""Tensors of the base of a checkpoint folder, see `zipmap_jax.convert.shared`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zipmap_jax.convert.safetensors_file import read_safetensors
from zipmap_jax.errors import UserError


def with_base(
    own: dict[str, np.ndarray], names: Iterable[str], base: Mapping[str, Any], weights: Path
) -> dict[str, np.ndarray]:
    """Completes the tensors of a file by those of its base.

    Args:
      own: tensors of the file.
      names: names of all tensors of the model.
      base: entry `base` of the card.
      weights: the file.

    Returns:
      The tensors of the file, and the missing ones from its base.

    Raises:
      UserError: the base is missing or was modified.
    """
    other = weights.parent / str(base.get("folder")) / weights.name
    if not other.is_file() or digest(other) != base.get("sha256"):
        raise UserError(
            f"{weights} shares tensors with {other}, which is missing or was modified: restore "
            "that file"
        )
    shared = read_safetensors(other)
    missing = [name for name in names if name not in own and name in shared]
    return own | {name: shared[name] for name in missing}


def digest(path: Path) -> str:
    """SHA-256 checksum of a file.

    Args:
      path: the file.

    Returns:
      64 hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
