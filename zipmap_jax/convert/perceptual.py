"""Conversion of LPIPS weights: VGG-16 and the linear layers, from PyTorch files to one folder.

They are the parameters of `zipmap_jax.losses.perceptual`. The sources are torchvision's VGG-16 and
the `lpips` package's `weights/v0.1/vgg.pth`, or the state dict of `lpips.LPIPS(net="vgg")`, which
contains both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zipmap_jax.convert.base import digest
from zipmap_jax.convert.checkpoint import (
    CARD,
    DTYPES,
    FORMAT,
    WEIGHTS,
    created_by,
    require_free,
    write_card,
)
from zipmap_jax.convert.rules import (
    Params,
    Rule,
    check,
    convert_leaves,
    nest,
    our_shapes,
    shapes_of,
    torch_shapes,
)
from zipmap_jax.convert.safetensors_file import read_safetensors, write_safetensors
from zipmap_jax.convert.torch_state import read_state
from zipmap_jax.errors import UserError

KIND = "lpips-vgg16"
LICENCE = (
    "VGG-16: torchvision's weights (BSD 3-clause code; trained on ImageNet); linear layers: "
    "BSD 2-clause, Zhang et al."
)
# (number in `features`, channels in, channels out) of every convolution, stage by stage.
_STAGES = (
    ((0, 3, 64), (2, 64, 64)),
    ((5, 64, 128), (7, 128, 128)),
    ((10, 128, 256), (12, 256, 256), (14, 256, 256)),
    ((17, 256, 512), (19, 512, 512), (21, 512, 512)),
    ((24, 512, 512), (26, 512, 512), (28, 512, 512)),
)
_VGG_MARK, _LINEAR_MARK = "features.28.weight", "lin0.model.1.weight"


def rules() -> list[Rule]:
    """The rule table, with torchvision's names of the convolutions and lpips's of other layers."""
    table = []
    for stage, convolutions in enumerate(_STAGES):
        for j, (number, inputs, outputs) in enumerate(convolutions):
            torch, ours = f"features.{number}", f"vgg/stage{stage}_conv{j}"
            table.append(Rule(f"{torch}.weight", f"{ours}/kernel", (outputs, inputs, 3, 3), "conv"))
            table.append(Rule(f"{torch}.bias", f"{ours}/bias", (outputs,)))
    for stage, convolutions in enumerate(_STAGES):
        width = convolutions[-1][2]
        torch, ours = f"lin{stage}.model.1.weight", f"linear/stage{stage}/kernel"
        table.append(Rule(torch, ours, (1, width, 1, 1), "conv"))
    return table


def is_perceptual(names: Mapping[str, Any]) -> bool:
    """Whether a state dict contains VGG-16, LPIPS's linear layers, or both.

    Args:
      names: the state dict, or another mapping with its keys.

    Returns:
      True if it contains one of them.
    """
    known = _canonical(names)
    return _VGG_MARK in known or _LINEAR_MARK in known


def from_states(state: Mapping[str, Any], linear: Mapping[str, Any] | None = None) -> Params:
    """Parameters of `losses.perceptual_loss` from one or two state dicts.

    Args:
      state: state dict of torchvision's VGG-16, or of the whole LPIPS network.
      linear: state dict of LPIPS's linear layers, if `state` has none.

    Returns:
      Nested dictionaries of float32 arrays.

    Raises:
      UserError: a part is missing, or a tensor has an unexpected name or shape.
    """
    return nest(dict(convert_leaves(_merged(state, linear), rules())))


def convert_perceptual(
    source: Path,
    output: Path,
    *,
    linear: Path | None = None,
    dtype: str = "float32",
    force: bool = False,
) -> str:
    """Converts LPIPS weights to a folder with `model.safetensors` and `card.json`.

    Args:
      source: file of VGG-16, or of the whole LPIPS network.
      output: the output folder.
      linear: file of LPIPS's linear layers, if `source` has none.
      dtype: number format of the output.
      force: whether an existing output is overwritten.

    Returns:
      A report of two lines.

    Raises:
      UserError: the input is invalid.
      OSError: a file cannot be read or written.
    """
    require_free(output, force)
    files = [source] if linear is None else [source, linear]
    state = _merged(*(read_state(path) for path in files))
    card = {
        "format": FORMAT,
        "created_by": created_by(),
        "kind": KIND,
        "dtype": dtype,
        "source": {path.name: digest(path) for path in files},
        "licence": LICENCE,
    }
    output.mkdir(parents=True, exist_ok=True)
    leaves = convert_leaves(state, rules(), DTYPES[dtype])
    write_safetensors(output / WEIGHTS, our_shapes(rules()), leaves, DTYPES[dtype])
    write_card(output, card)
    count = sum(array.size for array in state.values())
    return (
        f"{' + '.join(map(str, files))} -> {output / WEIGHTS}, {output / CARD}\n"
        f"LPIPS with VGG-16, {len(state)} tensors, {count:,} parameters, {dtype}"
    )


def read_perceptual(folder: str | Path) -> Params:
    """Reads the parameters of `losses.perceptual_loss` from a folder of `convert_perceptual`.

    Args:
      folder: the folder.

    Returns:
      Nested dictionaries of float32 NumPy arrays.

    Raises:
      UserError: the folder has other content, or is damaged.
      OSError: a file cannot be read.
    """
    folder = Path(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(
            f"{folder} has no {WEIGHTS}: make it with zipmap convert vgg16.pth --lpips vgg.pth"
        )
    flat = read_safetensors(folder / WEIGHTS)
    remedy = "convert LPIPS's weights again"
    check(shapes_of(flat), our_shapes(rules()), subject=f"{folder} as LPIPS", remedy=remedy)
    return nest({name: np.array(leaf, np.float32) for name, leaf in flat.items()})


def _merged(
    state: Mapping[str, Any], linear: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Tensors of both state dicts by the names of the table, after a check of their shapes."""
    known = _canonical(state) | _canonical(linear or {})
    parts = (
        (_VGG_MARK, "VGG-16", "pass torchvision's vgg16 file as the checkpoint"),
        (_LINEAR_MARK, "the linear layers", "add the lpips package's weights/v0.1/vgg.pth"),
    )
    for mark, name, remedy in parts:
        if mark not in known:
            raise UserError(f"LPIPS needs {name} ({mark}), which is missing: {remedy}")
    check(
        shapes_of(known),
        torch_shapes(rules()),
        subject="the state dict as LPIPS with VGG-16",
        remedy="pass torchvision's vgg16 (not vgg16_bn or vgg19) and LPIPS's vgg.pth",
    )
    return {name: np.asarray(array) for name, array in known.items()}


def _canonical(state: Mapping[str, Any]) -> dict[str, Any]:
    """Entries by the names of the table, without those of the classifier and duplicates."""
    named = {re.sub(r"^net\.slice\d\.", "features.", name): x for name, x in state.items()}
    return {k: x for k, x in named.items() if re.match(r"features\.|lin\d\.model\.", k)}
