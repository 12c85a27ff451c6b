"""Our checkpoint folder: `model.safetensors` with the parameters, `card.json` with all the rest."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from zipmap_jax.convert.base import with_base
from zipmap_jax.convert.model_config import config_to_dict
from zipmap_jax.convert.registry import ZIPMAP, kind_of
from zipmap_jax.convert.rules import Params, Shape, check, flatten, nest, shapes_of
from zipmap_jax.convert.safetensors_file import read_safetensors, write_safetensors
from zipmap_jax.errors import UserError
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
    """Everything about a model but its parameters.

    Args:
      config: the model.
      dtype: number format of the file, "float32" or "bfloat16".
      source: where the parameters come from, such as {"file": ..., "sha256": ...}.
      licence: under which terms they may be used.
      notes: anything a user should know.
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
        "config": config_to_dict(config),
    }


def created_by() -> str:
    """This package and its version, for cards."""
    try:
        version = importlib.metadata.version("zipmap-jax")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed)"
    return f"zipmap-jax {version}"


def save(
    folder: str | Path, params: Mapping[str, Any], card: Mapping[str, Any], *, force: bool = False
) -> None:
    """Write a checkpoint folder.

    Args:
      folder: made if needed; each file appears only when it is complete.
      params: nested parameter tree that fits the card's configuration.
      card: see `make_card`; its dtype is the dtype of the file.
      force: replace a checkpoint that is already there.

    Raises:
      UserError: when a checkpoint is already there, or the parameters do not fit the card.
      OSError: when the folder cannot be written.
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
    """As `save`, from leaves that come one by one in the order of the rule table."""
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
    """Write the card of a folder; it appears only when it is complete."""
    partial = folder / f"{CARD}.partial"
    partial.write_text(json.dumps(card, indent=2) + "\n", "utf-8")
    os.replace(partial, folder / CARD)


def require_free(folder: Path, force: bool) -> None:
    """Refuse to overwrite a checkpoint, or to make a folder where a file is.

    Raises:
      UserError: saying what is there.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, but a checkpoint is a folder: choose another output")
    there = [name for name in (WEIGHTS, CARD) if (folder / name).exists()]
    if there and not force:
        raise UserError(
            f"{folder} already holds {' and '.join(there)}: choose another output, or pass force "
            "to overwrite"
        )


def read(folder: str | Path) -> tuple[Params, dict[str, Any]]:
    """Read a checkpoint folder.

    Returns:
      Nested parameter tree of fp32 NumPy arrays, and the card.

    Raises:
      UserError: when a file is missing or damaged, or the two do not fit each other.
      OSError: when a file cannot be read.
    """
    flat, _, card = map_folder(folder)
    copies = {name: np.array(leaf, np.float32) for name, leaf in flat.items()}
    return nest(copies), card


def _expected_shapes(card: Mapping[str, Any]) -> dict[str, Shape]:
    kind = kind_of(card)
    return kind.parameter_shapes(kind.read_config(card["config"]))


def map_folder(folder: str | Path) -> tuple[dict[str, np.ndarray], Any, dict[str, Any]]:
    """Map a checkpoint folder without reading the parameters.

    Returns:
      Path -> read-only view of the file in its own dtype, the configuration, the card.

    Raises:
      ValueError, OSError: as `read`.
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
    config = kind.read_config(card["config"])
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
    except ValueError as error:  # both of bad JSON and of bad UTF-8
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
