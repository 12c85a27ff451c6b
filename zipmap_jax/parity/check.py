"""Entry point of the comparison: reads a recorded file and selects a checker by its kind."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.files import ARCHIVE_ERRORS
from zipmap_jax.nn.config import Policy
from zipmap_jax.parity import end_to_end, fast_weights, geometry, gradients, losses, units
from zipmap_jax.parity.report import TensorComparison

Checker = Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], list[TensorComparison]]
"""Function of the recorded arrays and the configuration of a file: one row per recorded output."""

CHECKERS: dict[str, Checker] = {
    "e2e_gradients": gradients.check_model_gradients,
    "e2e_": end_to_end.check_end_to_end,
    "unit_ttt_grad": gradients.check_fast_weight_gradients,
    "unit_ttt_": fast_weights.check_fast_weights,
    **units.CHECKERS,
    "unit_geometry": geometry.check_geometry,
    "loss_": losses.check_losses,
}
"""Checkers by the beginning of a file's kind; the first match applies."""


def check(path: str | Path, policy: Policy | None = None) -> list[TensorComparison]:
    """Compares this implementation with a file of recorded tensors.

    Args:
      path: an .npz file in the format of docs/parity.md. Its configuration is the JSON string
        `meta` inside the file, or the entry of the file in the `manifest.json` of its folder.
      policy: number formats of a whole model, whose distance from the recorded fp32 tensors is then
        reported without a tolerance; None = the formats of the file.

    Returns:
      One row per recorded tensor, in the order of the file.

    Raises:
      UserError: the file is unreadable, has no configuration, is of an unknown kind or has no
        output to compare.
    """
    path = Path(path)
    arrays = _read(path)
    meta = _meta(path, arrays)
    kind = str(meta.get("kind", path.stem))
    checker = next((f for prefix, f in CHECKERS.items() if kind.startswith(prefix)), None)
    if checker is None:
        raise UserError(
            f"{path}: unknown kind {kind!r}: set 'kind' in the configuration to one that starts "
            f"with {', '.join(CHECKERS)}"
        )
    if policy is not None:
        if not kind.startswith("e2e_") or kind.startswith("e2e_gradients"):
            raise UserError(f"{path}: kind {kind!r} is no whole model: leave the policy out")
        checker = functools.partial(end_to_end.check_in_format, policy)
    if "inputs_from" in meta:
        other = _read(path.parent / str(meta["inputs_from"]))
        arrays = {k: v for k, v in other.items() if k.startswith("in.")} | arrays
    try:
        rows = checker(arrays, meta)
    except KeyError as missing:
        raise UserError(
            f"{path}: {missing} is not known for kind {kind!r}: see docs/parity.md for its arrays "
            "and configuration"
        ) from missing
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not rows:
        raise UserError(
            f"{path}: none of its arrays is a recorded output of kind {kind!r}: see docs/parity.md "
            "for their names"
        )
    return rows


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check the path") from None
    except (*ARCHIVE_ERRORS, AttributeError) as error:
        reason = "" if str(error).startswith("This file contains pickled") else f" ({error})"
        raise UserError(f"{path}: not a readable .npz file{reason}: record it again") from error


def _meta(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    manifest = path.parent / "manifest.json"
    if "meta" in arrays:
        return _json_object(str(arrays.pop("meta")), f"{path}: 'meta'")
    files: Any = None
    if manifest.exists():
        files = _json_object(manifest.read_bytes(), str(manifest)).get("files")
    if not isinstance(files, dict) or not isinstance(files.get(path.name), dict):
        raise UserError(
            f"{path}: no configuration: add a JSON string 'meta' to the file, or an entry for it "
            "under 'files' of the manifest.json of its folder"
        )
    return files[path.name]


def _json_object(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:  # of JSON or UTF-8
        raise UserError(f"{where} is not valid JSON ({error}): write it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a JSON object, got {type(value).__name__}: correct it")
    return value
