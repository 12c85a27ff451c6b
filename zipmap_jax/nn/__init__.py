"""Building blocks of the models and their configurations.

Each Linen module describes the mathematics of one block and has parameters but no mutable
collections: state, such as the fast weights, is an argument and a result. The names below are
imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, __file__)
