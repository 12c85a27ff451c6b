"""Checkpoint folders: `model.safetensors` with the parameters, and `card.json` with the rest."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from zipmap_jax.config_io import to_json
from zipmap_jax.convert.base import with_base
from zipmap_jax.convert.registry import ZIPMAP, kind_of
from zipmap_jax.convert.rules import Params, Shape, check, flatten, nest, shapes_of
from zipmap_jax.convert.safetensors_file import read_safetensors, write_safetensors
from zipmap_jax.errors import UserError
from zipmap_jax.files import write_json
from zipmap_jax.models.config import ZipMapConfig

WEIGHTS, CARD = "model.safetensors", "card.json"
FORMAT = 1
DTYPES: dict[str, np.dtype] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def make_card(
    config: ZipMapConfig,
    *,
    dtype: str = "float32",
    source: Mapping[str, str] | None = None,
    licence: str = "",
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Card of a model: its configuration, and the origin and licence of its parameters.

    Args:
      config: configuration of the model.
      dtype: number format of the file, "float32" or "bfloat16".
      source: origin of the parameters, such as {"file": ..., "sha256": ...}.
      licence: terms of use of the parameters.
      notes: remarks for users, which `load` shows as warnings.

    Returns:
      JSON-serialisable entries.
    """
    return {
        "format": FORMAT,
        "created_by": created_by(),
        "model": ZIPMAP,
        "preset": config.preset,
        "variant": config.variant,
        "dtype": dtype,
        "source": dict(source or {}),
        "licence": licence,
        "notes": list(notes),
        "config": json.loads(json.dumps(to_json(config))),
    }


def created_by() -> str:
    """Name and version of this package, for cards."""
    try:
        version = importlib.metadata.version("zipmap-jax")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed)"
    return f"zipmap-jax {version}"


def save(
    folder: str | Path, params: Mapping[str, Any], card: Mapping[str, Any], *, force: bool = False
) -> None:
    """Writes a checkpoint folder.

    Args:
      folder: the folder, created if absent; each file appears only when it is complete.
      params: nested parameter tree of the card's configuration.
      card: see `make_card`; its dtype is the dtype of the file.
      force: whether an existing checkpoint is replaced.

    Raises:
      UserError: a checkpoint exists, or the parameters do not match the card.
      OSError: the folder cannot be written.
    """
    flat = flatten(params)
    expected = _expected_shapes(card)
    check(shapes_of(flat), expected, subject="the parameter tree", remedy="fix the card's config")
    save_leaves(folder, ((name, np.asarray(flat[name])) for name in expected), card, force=force)


def save_leaves(
    folder: str | Path,
    leaves: Iterable[tuple[str, np.ndarray]],
    card: Mapping[str, Any],
    *,
    force: bool = False,
) -> None:
    """Writes a checkpoint folder leaf by leaf, so that only one leaf needs to be in memory.

    Args:
      folder: see `save`.
      leaves: paths and arrays, in the order of the rule table.
      card: see `save`.
      force: see `save`.

    Raises:
      UserError: a checkpoint exists, or the dtype of the card is unknown.
      OSError: the folder cannot be written.
    """
    folder = Path(folder)
    require_free(folder, force)
    if card["dtype"] not in DTYPES:
        raise UserError(
            f"weights cannot be stored as {card['dtype']!r}: choose {' or '.join(DTYPES)}"
        )
    shapes = _expected_shapes(card)
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / WEIGHTS, shapes, leaves, DTYPES[card["dtype"]])
    write_card(folder, card)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Writes the card of a folder; the file appears only when it is complete.

    Args:
      folder: the checkpoint folder.
      card: JSON-serialisable entries.
    """
    write_json(folder / CARD, card, indent=2)


def require_free(folder: Path, force: bool) -> None:
    """Checks that a checkpoint folder can be written.

    Args:
      folder: the output folder.
      force: whether an existing checkpoint may be replaced.

    Raises:
      UserError: the folder is a file, or contains a checkpoint.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, but a checkpoint is a folder: choose another output")
    existing = [name for name in (WEIGHTS, CARD) if (folder / name).exists()]
    if existing and not force:
        raise UserError(
            f"{folder} already holds {' and '.join(existing)}: choose another output, or pass "
            "force to overwrite"
        )


def read(folder: str | Path) -> tuple[Params, dict[str, Any]]:
    """Reads a checkpoint folder.

    Args:
      folder: the folder.

    Returns:
      Nested parameter tree of fp32 NumPy arrays, and the card.

    Raises:
      UserError: a file is missing or damaged, or the parameters do not match the card.
      OSError: a file cannot be read.
    """
    flat, _, card = map_folder(folder)
    copies = {name: np.array(leaf, np.float32) for name, leaf in flat.items()}
    return nest(copies), card


def _expected_shapes(card: Mapping[str, Any]) -> dict[str, Shape]:
    kind = kind_of(card)
    return kind.parameter_shapes(kind.read_config(card["config"]))


def map_folder(folder: str | Path) -> tuple[dict[str, np.ndarray], Any, dict[str, Any]]:
    """Memory-maps a checkpoint folder without reading the parameters.

    Args:
      folder: the folder.

    Returns:
      Read-only views of the file by path, in the dtype of the file; the configuration; the card.

    Raises:
      UserError, OSError: see `read`.
    """
    folder = Path(folder)
    for name in (CARD, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} has no {name}, which every converted checkpoint has: convert or "
                "download it again"
            )
    card = _read_card(folder / CARD)
    kind = kind_of(card, folder / CARD)
    try:
        config = kind.read_config(card["config"])
    except UserError as error:
        raise UserError(f"{folder / CARD}: {error}") from error
    flat = read_safetensors(folder / WEIGHTS)
    expected = kind.parameter_shapes(config)
    if base := card.get("base"):
        flat = with_base(flat, expected, base, folder / WEIGHTS)
    check(
        shapes_of(flat),
        expected,
        subject=f"{folder / WEIGHTS}, {_described(card)} by its card,",
        remedy="convert or download it again",
    )
    return flat, config, card


def _described(card: Mapping[str, Any]) -> str:
    names = [str(card[name]) for name in ("preset", "variant") if name in card]
    return f"a {' '.join(names or [card.get('model', ZIPMAP)])} model"


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text("utf-8"))
    except ValueError as error:  # invalid JSON or invalid UTF-8
        raise UserError(f"{path} is damaged ({error}): convert the checkpoint again") from error
    if not isinstance(card, dict) or not isinstance(card.get("config"), dict):
        raise UserError(f"{path} has no entry config: convert the checkpoint again")
    if card.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {card.get('format')!r} where {FORMAT} is understood: update "
            "zipmap-jax, or convert the checkpoint again"
        )
    if not isinstance(card.get("base", {}), dict):
        raise UserError(f"{path} has an odd entry base: convert the checkpoint again")
    notes, size = card.get("notes", []), card.get("size")
    if not isinstance(notes, list) or not (size is None or (isinstance(size, int) and size > 0)):
        raise UserError(
            f"{path} has notes {notes!r} and size {size!r} where a list and a number of pixels are "
            "needed: correct it, or convert the checkpoint again"
        )
    return card
