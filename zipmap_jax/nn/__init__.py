"""Building blocks of the models and their configurations.

Each Linen module describes the mathematics of one block and has parameters but no mutable
collections: state, such as the fast weights, is an argument and a result. The names below are
imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zipmap_jax.nn.activations import activate
    from zipmap_jax.nn.attention import SelfAttention, attend
    from zipmap_jax.nn.blocks import TransformerBlock, init_stacked, run_stacked
    from zipmap_jax.nn.camera_head import IterativeCameraHead, MlpCameraHead, activate_pose
    from zipmap_jax.nn.config import (
        BF16,
        FP32,
        POLICIES,
        CameraHeadConfig,
        DenseHeadConfig,
        EmbedderConfig,
        FastWeightConfig,
        NewtonSchulzPrecision,
        Policy,
    )
    from zipmap_jax.nn.dpt import DenseHead
    from zipmap_jax.nn.fast_weights import (
        ColumnNorms,
        FastWeightLayer,
        FastWeights,
        Gradients,
        column_norms,
        step,
    )
    from zipmap_jax.nn.layers import LayerScale, Mlp, layer_norm, scaled_uniform
    from zipmap_jax.nn.rope import apply_rope, rope_tables, token_positions
    from zipmap_jax.nn.vit import ImageEmbedder, PatchProjection, RayEmbedder

_HOMES = {
    "BF16": "zipmap_jax.nn.config",
    "FP32": "zipmap_jax.nn.config",
    "POLICIES": "zipmap_jax.nn.config",
    "CameraHeadConfig": "zipmap_jax.nn.config",
    "ColumnNorms": "zipmap_jax.nn.fast_weights",
    "DenseHead": "zipmap_jax.nn.dpt",
    "DenseHeadConfig": "zipmap_jax.nn.config",
    "EmbedderConfig": "zipmap_jax.nn.config",
    "FastWeightConfig": "zipmap_jax.nn.config",
    "FastWeightLayer": "zipmap_jax.nn.fast_weights",
    "FastWeights": "zipmap_jax.nn.fast_weights",
    "Gradients": "zipmap_jax.nn.fast_weights",
    "ImageEmbedder": "zipmap_jax.nn.vit",
    "IterativeCameraHead": "zipmap_jax.nn.camera_head",
    "LayerScale": "zipmap_jax.nn.layers",
    "Mlp": "zipmap_jax.nn.layers",
    "MlpCameraHead": "zipmap_jax.nn.camera_head",
    "NewtonSchulzPrecision": "zipmap_jax.nn.config",
    "PatchProjection": "zipmap_jax.nn.vit",
    "Policy": "zipmap_jax.nn.config",
    "RayEmbedder": "zipmap_jax.nn.vit",
    "SelfAttention": "zipmap_jax.nn.attention",
    "TransformerBlock": "zipmap_jax.nn.blocks",
    "activate": "zipmap_jax.nn.activations",
    "activate_pose": "zipmap_jax.nn.camera_head",
    "apply_rope": "zipmap_jax.nn.rope",
    "attend": "zipmap_jax.nn.attention",
    "column_norms": "zipmap_jax.nn.fast_weights",
    "init_stacked": "zipmap_jax.nn.blocks",
    "layer_norm": "zipmap_jax.nn.layers",
    "rope_tables": "zipmap_jax.nn.rope",
    "run_stacked": "zipmap_jax.nn.blocks",
    "scaled_uniform": "zipmap_jax.nn.layers",
    "step": "zipmap_jax.nn.fast_weights",
    "token_positions": "zipmap_jax.nn.rope",
}

__all__ = [
    "BF16",
    "FP32",
    "POLICIES",
    "CameraHeadConfig",
    "ColumnNorms",
    "DenseHead",
    "DenseHeadConfig",
    "EmbedderConfig",
    "FastWeightConfig",
    "FastWeightLayer",
    "FastWeights",
    "Gradients",
    "ImageEmbedder",
    "IterativeCameraHead",
    "LayerScale",
    "Mlp",
    "MlpCameraHead",
    "NewtonSchulzPrecision",
    "PatchProjection",
    "Policy",
    "RayEmbedder",
    "SelfAttention",
    "TransformerBlock",
    "activate",
    "activate_pose",
    "apply_rope",
    "attend",
    "column_norms",
    "init_stacked",
    "layer_norm",
    "rope_tables",
    "run_stacked",
    "scaled_uniform",
    "step",
    "token_positions",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.nn' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
