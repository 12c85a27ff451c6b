"""Number formats of stored parameters: 16 bits where no result changes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from zipmap_jax.nn.config import Policy

_BACKBONE = ("embedder", "frame_blocks", "global_blocks", "ray_embed")
_ALWAYS_FP32 = "lr_fc"


def stored_format(name: str, policy: Policy) -> Any:
    """Number format of the parameter `name` ("frame_blocks/attn/qkv/kernel") in inference.

    A bf16 policy rounds the matrices of the backbone at every use. Rounding them once gives the
    same numbers in little more than half the memory; training needs the full precision.
    """
    parts = name.split("/")
    multiplied = parts[0] in _BACKBONE and parts[-1] == "kernel" and _ALWAYS_FP32 not in parts
    return policy.compute if multiplied else jnp.float32
