"""Which parameters may be kept in 16 bits without a change of any result."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from zipmap_jax.nn.config import Policy

_BACKBONE = ("embedder", "frame_blocks", "global_blocks", "ray_embed")
_ALWAYS_FP32 = "lr_fc"


def stored_format(name: str, policy: Policy) -> Any:
    """Format in which the parameter `name` ("frame_blocks/attn/qkv/kernel") is kept for inference.

    A policy that computes in bf16 rounds the matrices of the backbone whenever it uses them.
    Rounded once they give the same numbers, in little more than half the memory. Training needs the
    bits that are lost.
    """
    parts = name.split("/")
    multiplied = parts[0] in _BACKBONE and parts[-1] == "kernel" and _ALWAYS_FP32 not in parts
    return policy.compute if multiplied else jnp.float32
