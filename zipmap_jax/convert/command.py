"""Conversion of checkpoint files, in both directions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np

from zipmap_jax.convert.base import digest
from zipmap_jax.convert.checkpoint import (
    CARD,
    DTYPES,
    WEIGHTS,
    make_card,
    map_folder,
    require_free,
    save_leaves,
)
from zipmap_jax.convert.hub import embedded
from zipmap_jax.convert.identify import to_torch
from zipmap_jax.convert.perceptual import convert_perceptual, is_perceptual
from zipmap_jax.convert.rules import nest, shapes_of
from zipmap_jax.convert.shared import share
from zipmap_jax.convert.torch_state import open_zipmap, read_state
from zipmap_jax.convert.torch_writer import write_torch
from zipmap_jax.errors import UserError
from zipmap_jax.models.config import ZipMapConfig

SOURCE_LICENCE = (
    "The parameters are under the licence of the file they were converted from; the released "
    "ZipMap weights are CC BY-NC 4.0 (attribution, no commercial use)."
)


def convert_command(
    source: Path,
    output: Path,
    *,
    to: Literal["zipmap", "torch"] = "zipmap",
    variant: str | None = None,
    ema: bool = False,
    dtype: Literal["float32", "bfloat16"] = "float32",
    force: bool = False,
    licence: str = SOURCE_LICENCE,
    lpips: Path | None = None,
    share_with: str | None = None,
) -> str:
    """Converts a PyTorch checkpoint to a checkpoint folder, or a folder to a PyTorch checkpoint.

    Args:
      source: for "zipmap" a `.pt` or `.safetensors` file with the reference's names; for "torch" a
        checkpoint folder or the name of an embedded model.
      output: for "zipmap" the output folder; for "torch" the output file, `.pt`.
      to: format of the output.
      variant: variant of the model, if its tensors do not determine it.
      ema: whether the averaged weights are converted.
      dtype: number format of the parameters in the output.
      force: whether an existing output is overwritten.
      licence: terms of use for the card.
      lpips: file of LPIPS's linear layers, if `source` is VGG-16; both together are the weights of
        the perceptual loss.
      share_with: checkpoint folder; `source`, which is also a checkpoint folder, is copied without
        the tensors that both have in common. An embedded model is possible only for an output
        in the folder of the embedded models.

    Returns:
      A report of a few lines.

    Raises:
      UserError: the input is invalid.
      OSError: a file cannot be read or written.
    """
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
    if share_with is not None:
        if to != "zipmap" or variant is not None or ema or lpips is not None or dtype != "float32":
            raise UserError(
                "share_with copies a folder as it is: leave to, variant, ema, lpips and dtype out"
            )
        return _shared(Path(source), share_with, Path(output), force)
    if to == "torch":
        if variant is not None or ema or lpips is not None:
            raise UserError(
                "variant, ema and lpips describe a PyTorch file, but the source is a folder whose "
                "card says what it is: leave them out"
            )
        return _to_torch(Path(source), Path(output), dtype, force)
    if to != "zipmap":
        raise UserError(f"unknown target {to!r}: choose zipmap or torch")
    source, output = Path(source), Path(output)
    if source.is_dir():
        raise UserError(f"{source} is a folder: pass the .pt or .safetensors file itself")
    require_free(output, force)
    if is_perceptual(read_state(source, ema=ema)):
        if variant is not None or ema:
            raise UserError(
                f"{source} holds VGG-16, which has no variants and no averaged weights: leave "
                "variant and ema out"
            )
        return convert_perceptual(source, output, linear=lpips, dtype=dtype, force=force)
    if lpips is not None:
        raise UserError(f"{source} is no VGG-16, which lpips belongs to: leave lpips out")
    return _to_zipmap(source, output, variant, ema, dtype, force, licence)


def _shared(source: Path, share_with: str, output: Path, force: bool) -> str:
    base = embedded(share_with)
    if base and base.parent.resolve() not in output.resolve().parents:
        raise UserError(
            f"{share_with} is part of the package and may change with it: share with a folder of "
            "your own, or keep the whole checkpoint"
        )
    return share(source, base or Path(share_with), output, force=force)


def _to_zipmap(
    source: Path,
    output: Path,
    variant: str | None,
    ema: bool,
    dtype: str,
    force: bool,
    licence: str,
) -> str:
    model = open_zipmap(source, variant=variant, ema=ema)
    checksum = digest(source)
    origin = {"file": source.name, "sha256": checksum, "weights": "ema" if ema else "model"}
    card = make_card(model.config, dtype=dtype, source=origin, licence=licence, notes=model.notes)
    save_leaves(output, model.leaves(DTYPES[dtype]), card, force=force)
    lines = [
        f"{source} -> {output / WEIGHTS}, {output / CARD}",
        _summary(model.config, model.state, dtype),
        f"source sha256: {checksum}",
        *(f"note: {note}" for note in model.notes),
    ]
    return "\n".join(lines)


def _to_torch(source: Path, output: Path, dtype: str, force: bool) -> str:
    if output.is_dir():
        raise UserError(f"{output} is a folder: name the .pt file to make")
    if output.exists() and not force:
        raise UserError(f"{output} exists: choose another output, or pass force to overwrite")
    flat, config, _ = map_folder(embedded(str(source)) or source)
    if config.mixer != "fast_weights":
        raise UserError(
            f"{source} mixes views by {config.mixer}, which the PyTorch reference does not have: "
            "use the folder as it is"
        )
    state = to_torch(nest(flat), config)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_torch(output, state, dtype=DTYPES[dtype])
    return f"{source} -> {output}\n{_summary(config, state, dtype)}"


def _summary(config: ZipMapConfig, state: dict[str, np.ndarray], dtype: str) -> str:
    count = sum(math.prod(shape) for shape in shapes_of(state).values())
    return (
        f"model: {config.preset} {config.variant}, {len(state)} tensors, {count:,} parameters, "
        f"{dtype}, {count * DTYPES[dtype].itemsize / 1e6:,.1f} MB"
    )
