"""Checkpoint folders that hold only what differs from another: fine-tuned models stay small.

The card's entry `base` names the other folder, relative to its own, and the digest of its weights;
whoever reads the folder takes from there what its own file lacks.
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
    """Copy a checkpoint folder without the tensors that it has in common with another.

    Args:
      source: checkpoint folder.
      base: the other checkpoint folder; `output` is of use only while it lies there unchanged.
      output: folder to make.
      force: overwrite an existing output.

    Returns:
      A line on what is shared and what is not.

    Raises:
      UserError: a folder is damaged, the number formats differ, or nothing is equal.
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
