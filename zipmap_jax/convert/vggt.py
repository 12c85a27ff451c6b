"""Initialisation of training from the weights of VGGT-1B.

ZipMap has VGGT's embedder, frame blocks, camera head and depth head, and replaces each global
attention by a fast-weight layer. The projections of the attention are reused, since their shapes
and order are equal; fast weights, learning rates, gate, output norm and the point head are
initialised randomly. Source: ZipMap (arXiv 2603.04385), initialisation.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from zipmap_jax.convert.rules import Params, collapse, from_state, shapes_of, to_state
from zipmap_jax.convert.table import rules
from zipmap_jax.errors import UserError
from zipmap_jax.models.config import ZipMapConfig

# Parts of ZipMap's names, and the corresponding parts of VGGT's.
_PROJECTIONS = {".ttt_block.to_qkv.": ".attn.qkv.", ".ttt_block.c_proj.": ".attn.proj."}

_NEW_IN_ZIPMAP = re.compile(
    r"aggregator\.global_blocks\.\d+\.ttt_block\.(w[012]|lr_fc\.|gate_fn\.|o_norm\.)"
    r"|aggregator\.ray_|(local_point|nvs|camera_mlp)_head\."
)
_ONLY_IN_VGGT = re.compile(
    r"aggregator\.global_blocks\.\d+\.attn\.[qk]_norm\.|(point|track)_head\."
)


@dataclasses.dataclass(frozen=True)
class VggtReport:
    """Origin of all tensors, by the reference's names.

    Attributes:
      loaded: tensors loaded under the same name.
      mapped: VGGT's names of projections by ZipMap's names.
      fresh: tensors that stay as initialised.
      ignored: tensors of the VGGT file that this model does not use.
    """

    loaded: tuple[str, ...]
    mapped: dict[str, str]
    fresh: tuple[str, ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        parts = (
            ("loaded", self.loaded),
            ("loaded under a new name", tuple(self.mapped)),
            ("freshly initialised", self.fresh),
            ("ignored", self.ignored),
        )
        return "\n".join(
            f"{len(names)} {what}: {', '.join(collapse(dict.fromkeys(names, '')))}"
            for what, names in parts
            if names
        )


def plan(names: Mapping[str, Any], config: ZipMapConfig) -> VggtReport:
    """Determines the origin of every tensor by its name.

    Args:
      names: the VGGT state dict, or another mapping with its keys.
      config: configuration of the model that is initialised.

    Returns:
      The origin of all tensors.

    Raises:
      UserError: a tensor of VGGT is missing or unknown.
    """
    ours = [name for rule in rules(config) for name in rule.names]
    renamed = {name: vggt_name for name in ours if (vggt_name := _projection(name))}
    mapped = {name: vggt_name for name, vggt_name in renamed.items() if vggt_name in names}
    loaded = [name for name in ours if name in names]
    fresh = [name for name in ours if name not in names and name not in mapped]
    used = {*loaded, *mapped.values()}
    missing = [name for name in fresh if not _NEW_IN_ZIPMAP.match(name)]
    ignored = [name for name in names if name not in used]
    dropped = "camera_head." if config.camera.kind == "mlp" else "\0"
    unknown = [n for n in ignored if not _ONLY_IN_VGGT.match(n) and not n.startswith(dropped)]
    if missing or unknown:
        parts = (("missing", missing), ("unknown", unknown))
        text = "; ".join(
            f"{len(n)} {what} ({', '.join(collapse(dict.fromkeys(n, '')))})"
            for what, n in parts
            if n
        )
        raise UserError(
            f"the state dict is not VGGT for a {config.preset} {config.variant} model: {text}; "
            "check the file and the size of the model"
        )
    return VggtReport(tuple(loaded), mapped, tuple(fresh), tuple(ignored))


def from_vggt(
    state: Mapping[str, Any], config: ZipMapConfig, init: Mapping[str, Any]
) -> tuple[Params, VggtReport]:
    """Merges a VGGT state dict into random parameters.

    Args:
      state: arrays by VGGT's names.
      config: configuration of the model that is initialised.
      init: its random parameters, from `ZipMap.init`.

    Returns:
      The fp32 parameter tree, and the origin of all tensors.

    Raises:
      UserError: `state` is not VGGT of this size; the message lists all tensors that differ.
    """
    report = plan(shapes_of(state), config)
    merged = to_state(init, rules(config))
    for name in report.loaded:
        merged[name] = np.asarray(state[name])
    for name, vggt_name in report.mapped.items():
        merged[name] = np.asarray(state[vggt_name])
    subject = f"VGGT as the start of a {config.preset} {config.variant} model"
    remedy = "choose the size of the model that matches the file"
    return from_state(merged, rules(config), subject=subject, remedy=remedy), report


def _projection(name: str) -> str | None:
    """VGGT's name of a projection; None for other tensors."""
    for ours, theirs in _PROJECTIONS.items():
        if ours in name:
            return name.replace(ours, theirs)
    return None
