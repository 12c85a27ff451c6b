"""The folder that a checkpoint shares tensors with, see `zipmap_jax.convert.shared`."""

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
    """The tensors of a file, and those of its base that it lacks.

    Args:
      own: tensors of the file.
      names: of all tensors that the model has.
      base: entry `base` of the card.
      weights: the file.

    Raises:
      UserError: the base is gone or has been changed.
    """
    other = weights.parent / str(base.get("folder")) / weights.name
    if not other.is_file() or digest(other) != base.get("sha256"):
        raise UserError(
            f"{weights} shares tensors with {other}, which is missing or not the one it was made "
            "with: put that file back"
        )
    shared = read_safetensors(other)
    missing = [name for name in names if name not in own and name in shared]
    return own | {name: shared[name] for name in missing}


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
