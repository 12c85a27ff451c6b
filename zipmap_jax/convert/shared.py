"""Checkpoint folders with only the tensors that differ from a base, for small fine-tuned models.

The card's entry `base` contains the path of the base, relative to the folder, and the digest of its
weights; missing tensors are read from the base.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from zipmap_jax.convert.base import digest
from zipmap_jax.convert.checkpoint import (
    DTYPES,
    WEIGHTS,
    map_folder,
    require_free,
    write_card,
)
from zipmap_jax.convert.safetensors_file import write_safetensors
from zipmap_jax.errors import UserError


def share(source: Path, base: Path, output: Path, *, force: bool = False) -> str:
    """Copies a checkpoint folder without the tensors that are equal to those of a base.

    Args:
      source: checkpoint folder.
      base: checkpoint folder of the base, which must remain unchanged at its relative path.
      output: the output folder.
      force: whether an existing output is overwritten.

    Returns:
      A line with the numbers of shared and own tensors.

    Raises:
      UserError: a folder is damaged, the number formats differ, or no tensor is equal.
      OSError: a file cannot be read or written.
    """
    if output.resolve() in (source.resolve(), base.resolve()):
        raise UserError(f"{output} is one of the folders to read: choose another output")
    require_free(output, force)
    own, _, card = map_folder(source)
    others, _, base_card = map_folder(base)
    if base_card.get("base"):
        raise UserError(f"{base} itself shares with another folder: name that one")
    if card["dtype"] != base_card["dtype"]:
        raise UserError(
            f"{source} holds {card['dtype']} and {base} {base_card['dtype']}, so nothing is equal: "
            "export both in one number format"
        )
    kept = {n: x for n, x in own.items() if n not in others or not _equal(x, others[n])}
    if len(kept) == len(own):
        raise UserError(f"{source} has no tensor in common with {base}: keep it as it is")
    output.mkdir(parents=True, exist_ok=True)
    shapes = {name: x.shape for name, x in kept.items()}
    write_safetensors(output / WEIGHTS, shapes, kept.items(), DTYPES[card["dtype"]])
    folder = os.path.relpath(base.resolve(), output.resolve())
    write_card(output, {**card, "base": {"folder": folder, "sha256": digest(base / WEIGHTS)}})
    size = (output / WEIGHTS).stat().st_size / 2**20
    return f"{len(own) - len(kept)} tensors shared with {base}, {len(kept)} own: {size:.1f} MiB"


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()
