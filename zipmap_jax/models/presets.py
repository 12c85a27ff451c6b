"""Presets as data: each pair of a size and a variant is a configuration."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from zipmap_jax.errors import UserError
from zipmap_jax.models.config import Mixer, Variant, ZipMapConfig
from zipmap_jax.nn.config import (
    FP32,
    CameraHeadConfig,
    DenseHeadConfig,
    EmbedderConfig,
    Policy,
)

if TYPE_CHECKING:
    from zipmap_jax.models.zipmap import ZipMap

SIZES: dict[str, ZipMapConfig] = {
    # The released checkpoints.
    "large": ZipMapConfig(preset="large"),
    # The configuration of the parity arrays: DINOv2-S and width 384, everything else as released.
    "small": ZipMapConfig(
        preset="small",
        embedder=EmbedderConfig(width=384, depth=12, heads=6),
        heads=6,
    ),
    # The embedded demonstration model.
    "tiny": ZipMapConfig(
        preset="tiny",
        embedder=EmbedderConfig(width=128, depth=2, heads=4, image_size=154),
        depth=4,
        heads=4,
        layer_scale_init=1.0,
        taps=(0, 1, 2, 3),
        camera=CameraHeadConfig(depth=1, heads=4, layer_scale_init=1.0, output_scale=0.2),
        dense=DenseHeadConfig(
            features=32,
            out_channels=(32, 48, 64, 64),
            hidden=16,
            init_gain=1.1,
            output_scale=0.1,
        ),
    ),
}

VARIANTS: dict[Variant, dict[str, Any]] = {
    "offline": dict(affine_invariant=True),
    "ref_view": dict(affine_invariant=False),
    "streaming": dict(affine_invariant=True, window=1, camera={"kind": "mlp"}),
    "state_query": dict(affine_invariant=False, ray_channels=9),
}

DINOV2: dict[str, EmbedderConfig] = {
    "dinov2_vits14_reg": EmbedderConfig(width=384, depth=12, heads=6),
    "dinov2_vitb14_reg": EmbedderConfig(width=768, depth=12, heads=12),
    "dinov2_vitl14_reg": EmbedderConfig(width=1024, depth=24, heads=16),
    "dinov2_vitg2_reg": EmbedderConfig(width=1536, depth=40, heads=24),
}


def preset(size: str = "large", variant: Variant = "offline") -> ZipMapConfig:
    """Configuration of a size ("large", "small", "tiny") and a variant.

    Raises:
      UserError: a name is unknown.
    """
    for name, table in ((size, SIZES), (variant, VARIANTS)):
        if name not in table:
            raise UserError(f"unknown preset {name!r}: choose one of {', '.join(table)}")
    base = SIZES[size]
    changes = dict(VARIANTS[variant])
    changes["camera"] = dataclasses.replace(base.camera, **changes.get("camera", {}))
    return dataclasses.replace(base, variant=variant, **changes)


def build(
    size: str, variant: Variant = "offline", policy: Policy = FP32, mixer: Mixer = "fast_weights"
) -> ZipMap:
    """The model of a preset, with a number format and a mixer of its global blocks.

    Raises:
      UserError: a name is unknown, or the variant does not support the mixer.
    """
    from zipmap_jax.models.zipmap import ZipMap

    return ZipMap(dataclasses.replace(preset(size, variant), mixer=mixer), policy)
