"""Start training from VGGT-1B (ZipMap, section on initialisation).

ZipMap keeps VGGT's embedder, frame blocks, camera head and depth head, and turns each global
attention into a fast-weight layer: its projections carry over, since shapes and order coincide,
and the fast weights, learning rates, gate and output norm start fresh, as does the point head.
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

# Ours -> VGGT's.
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
    """Where every tensor came from or went, by the reference's names.

    Attributes:
      loaded: taken over under the same name.
      mapped: name in ZipMap -> name in VGGT of the projections that changed their name.
      fresh: kept as freshly initialised.
      ignored: in the VGGT file and of no use to this model.
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
    """Decide for every tensor, by name, whether it is taken over.

    Args:
      names: the VGGT state dict, or anything with its keys.
      config: the model to start.

    Raises:
      UserError: when a tensor that VGGT should provide is missing, or one is unknown.
    """
    ours = [name for rule in rules(config) for name in rule.names]
    renamed = {name: there for name in ours if (there := _projection(name))}
    mapped = {name: there for name, there in renamed.items() if there in names}
    loaded = [name for name in ours if name in names]
    left = [name for name in ours if name not in names and name not in mapped]
    used = {*loaded, *mapped.values()}
    missing = [name for name in left if not _NEW_IN_ZIPMAP.match(name)]
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
    return VggtReport(tuple(loaded), mapped, tuple(left), tuple(ignored))


def from_vggt(
    state: Mapping[str, Any], config: ZipMapConfig, init: Mapping[str, Any]
) -> tuple[Params, VggtReport]:
    """Merge a VGGT state dict over freshly initialised parameters.

    Args:
      state: name -> array with VGGT's names.
      config: the model to start.
      init: its fresh parameters, from `ZipMap.init`.

    Returns:
      fp32 parameter tree, and what became of every tensor.

    Raises:
      UserError: when `state` is not VGGT of this size; every tensor at fault is named.
    """
    report = plan(shapes_of(state), config)
    merged = to_state(init, rules(config))
    for name in report.loaded:
        merged[name] = np.asarray(state[name])
    for name, there in report.mapped.items():
        merged[name] = np.asarray(state[there])
    subject = f"VGGT as the start of a {config.preset} {config.variant} model"
    remedy = "choose the size of the model that matches the file"
    return from_state(merged, rules(config), subject=subject, remedy=remedy), report


def _projection(name: str) -> str | None:
    for ours, theirs in _PROJECTIONS.items():
        if ours in name:
            return name.replace(ours, theirs)
    return None
