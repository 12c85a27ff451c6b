"""State dicts of the PyTorch reference: identification of the model, and conversion."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from zipmap_jax.convert.rules import Params, Shape, from_state, to_state, torch_shapes
from zipmap_jax.convert.table import rules
from zipmap_jax.errors import UserError
from zipmap_jax.models.config import Variant, ZipMapConfig
from zipmap_jax.models.presets import SIZES, VARIANTS, preset
from zipmap_jax.nn.config import CameraHeadConfig, DenseHeadConfig, EmbedderConfig, FastWeightConfig

RELEASED_FILES: dict[str, Variant] = {
    "checkpoint_aff_inv.pt": "offline",
    "checkpoint_with_ref_view.pt": "ref_view",
    "checkpoint_online.pt": "streaming",
    "checkpoint_state_query.pt": "state_query",
}
"""Variants of the released files."""

# Channels per attention head of DINOv2, which the shapes of its tensors do not determine.
_EMBEDDER_HEAD_WIDTH = 64
_CAMERA_HEADS = 16


def from_torch(state: Mapping[str, Any], config: ZipMapConfig, dtype: Any = np.float32) -> Params:
    """Converts a state dict of the reference to a parameter tree.

    Args:
      state: arrays by name, with the reference's names, shapes and axis order.
      config: configuration of the model, see `identify`.
      dtype: number format of the result.

    Returns:
      Nested dictionaries of NumPy arrays; blocks are stacked along a leading layer axis.

    Raises:
      UserError: tensors are missing, unexpected or wrongly shaped; the message lists all of them.
    """
    subject = f"the state dict of a {config.preset} {config.variant} model"
    return from_state(state, rules(config), subject=subject, remedy=REMEDY, dtype=dtype)


def to_torch(params: Mapping[str, Any], config: ZipMapConfig) -> dict[str, np.ndarray]:
    """Converts a parameter tree to a state dict, the exact inverse of `from_torch`.

    Args:
      params: nested parameter tree.
      config: configuration of the model.

    Returns:
      Arrays by the reference's names.

    Raises:
      UserError: leaves are missing, unexpected or wrongly shaped; the message lists all of them.
    """
    subject = f"the parameter tree of a {config.preset} {config.variant} model"
    return to_state(params, rules(config), subject=subject)


REMEDY = "check that the file is complete and the variant is the right one"


def expected_shapes(config: ZipMapConfig) -> dict[str, Shape]:
    """Shapes of all tensors of the reference's state dict.

    Args:
      config: configuration of the model.

    Returns:
      Shapes by name.
    """
    return torch_shapes(rules(config))


def identify(
    shapes: Mapping[str, Shape], *, variant: str | None = None, file_name: str = ""
) -> tuple[ZipMapConfig, tuple[str, ...]]:
    """Determines the configuration from the names and shapes of a state dict.

    "offline" and "ref_view" have the same tensors; `variant` or the name of a released file
    distinguishes them.

    Args:
      shapes: shapes by name.
      variant: variant of the model; None = determined from the other arguments.
      file_name: name of the file, without folders.

    Returns:
      The configuration (preset "custom" if no preset has these shapes), and notes on values that
      the shapes do not determine.

    Raises:
      UserError: the state dict is not that of a ZipMap model, or contradicts `variant`.
    """
    _require_zipmap(shapes)
    identified, notes = _variant(shapes, variant, file_name)
    config = _derive(shapes, identified)
    for size in SIZES:
        candidate = preset(size, identified)
        if expected_shapes(candidate) == expected_shapes(config):
            return candidate, notes
    notes += (
        f"no preset has these shapes: assumed {config.embedder.heads} embedder heads, "
        f"{config.camera.heads} camera heads and taps {config.taps}",
    )
    return config, notes


def _require_zipmap(shapes: Mapping[str, Shape]) -> None:
    if any(".ttt_block." in name for name in shapes):
        return
    if any(name.startswith("aggregator.global_blocks.") for name in shapes):
        raise UserError(
            "this is a VGGT checkpoint, not ZipMap (its global blocks hold attention instead of "
            "fast weights): it can only initialise training, see zipmap_jax.convert.vggt.from_vggt"
        )
    examples = ", ".join(list(shapes)[:3]) or "nothing"
    raise UserError(
        f"this is no ZipMap checkpoint: it holds {examples} instead of "
        "aggregator.global_blocks.*.ttt_block.*: pass the state dict of a ZipMap model"
    )


def _variant(
    shapes: Mapping[str, Shape], requested: str | None, file_name: str
) -> tuple[Variant, tuple[str, ...]]:
    if requested is not None and requested not in VARIANTS:
        raise UserError(f"unknown variant {requested!r}: choose one of {', '.join(VARIANTS)}")
    if any(name.startswith("camera_mlp_head.") for name in shapes):
        possible: tuple[Variant, ...] = ("streaming",)
    elif any(name.startswith(("nvs_head.", "aggregator.ray_")) for name in shapes):
        possible = ("state_query",)
    else:
        possible = ("offline", "ref_view")
    if requested is not None:
        if requested not in possible:
            raise UserError(
                f"variant {requested} contradicts the checkpoint, whose tensors are those of "
                f"{' or '.join(possible)}: pass one of these, or leave the variant out"
            )
        return cast(Variant, requested), ()
    if len(possible) == 1:
        return possible[0], ()
    if RELEASED_FILES.get(file_name) in possible:
        return RELEASED_FILES[file_name], ()
    note = (
        "assumed variant offline (affine invariant), which has the same tensors as ref_view: pass "
        "variant ref_view if the model was trained with a reference view"
    )
    return "offline", (note,)


def _derive(shapes: Mapping[str, Shape], variant: Variant) -> ZipMapConfig:
    """Configuration from the shapes, and from conventions where these do not determine it."""
    shape = _Lookup(shapes)
    block = "aggregator.global_blocks.0.ttt_block"
    heads, head_width, hidden = shape(f"{block}.w0", 3)
    frame = "aggregator.frame_blocks"
    mlp, width = shape(f"{frame}.0.mlp.fc1.weight", 2)
    depth = shape.layers(frame)
    changes = dict(VARIANTS[variant])
    changes.pop("camera", None)
    if "ray_channels" in changes:
        changes["ray_channels"] = shape("aggregator.ray_patch_embed.proj.weight", 4)[1]
    return ZipMapConfig(
        preset="custom",
        variant=variant,
        embedder=_derive_embedder(shape),
        depth=depth,
        heads=max(1, width // shape(f"{frame}.0.attn.q_norm.weight", 1)[0]),
        mlp_ratio=mlp // width,
        registers=shape("aggregator.register_token", 4)[2],
        taps=_taps(depth),
        fast=FastWeightConfig(
            heads=heads,
            hidden_multiple=hidden // head_width,
            gate=f"{block}.gate_fn.0.weight" in shapes,
            bias=f"{block}.to_qkv.bias" in shapes,
        ),
        camera=_derive_camera(shape, width),
        dense=_derive_dense(shape),
        **changes,
    )


def _derive_embedder(shape: _Lookup) -> EmbedderConfig:
    torch = "aggregator.patch_embed"
    depth = shape.layers(f"{torch}.blocks")
    name = f"{torch}.patch_embed.proj.weight" if depth else f"{torch}.proj.weight"
    width, _, patch, _ = shape(name, 4)
    config = EmbedderConfig(
        width=width, depth=depth, heads=max(1, width // _EMBEDDER_HEAD_WIDTH), patch=patch
    )
    if depth == 0:
        return config
    side = math.isqrt(shape(f"{torch}.pos_embed", 3)[1] - 1)
    registers = shape(f"{torch}.register_tokens", 3)[1]
    return dataclasses.replace(config, image_size=side * patch, registers=registers)


def _derive_camera(shape: _Lookup, width: int) -> CameraHeadConfig:
    depth = shape.layers("camera_head.trunk")
    if depth == 0:
        return CameraHeadConfig(kind="mlp")
    heads = _CAMERA_HEADS if 2 * width % _CAMERA_HEADS == 0 else max(1, width // 32)
    return CameraHeadConfig(depth=depth, heads=heads)


def _derive_dense(shape: _Lookup) -> DenseHeadConfig:
    levels = [shape(f"depth_head.projects.{j}.weight", 4)[0] for j in range(4)]
    return DenseHeadConfig(
        features=shape("depth_head.scratch.layer1_rn.weight", 4)[0],
        out_channels=(levels[0], levels[1], levels[2], levels[3]),
        hidden=shape("depth_head.scratch.output_conv2.0.weight", 4)[0],
    )


def _taps(depth: int) -> tuple[int, int, int, int]:
    if depth == 24:
        return (4, 11, 17, 23)
    if depth < 4:
        raise UserError(
            f"the dense heads need four tapped layers but the checkpoint has {depth} "
            "aggregator.frame_blocks: check that it is complete"
        )
    return (depth // 4 - 1, depth // 2 - 1, 3 * depth // 4 - 1, depth - 1)


class _Lookup:
    """Shapes by name; a missing or wrongly shaped tensor raises an error that names it."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes = shapes

    def __call__(self, name: str, rank: int) -> Shape:
        if name not in self._shapes:
            raise UserError(f"the checkpoint lacks {name}: check that the file is complete")
        shape = self._shapes[name]
        if len(shape) != rank or 0 in shape:
            raise UserError(
                f"{name} must have {rank} axes, none empty, but has shape {shape}: "
                "check that it is the right checkpoint"
            )
        return shape

    def layers(self, prefix: str) -> int:
        """Number of layers: 1 + the largest layer index under `prefix`."""
        pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
        matches = (pattern.match(name) for name in self._shapes)
        return 1 + max((int(m.group(1)) for m in matches if m), default=-1)
