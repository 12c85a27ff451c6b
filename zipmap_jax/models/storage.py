"""Which parameters may be kept in 16 bits without a change of any result."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from zipmap_jax.nn.config import Policy

_T = TypeVar("_T")

_BACKBONE = ("embedder", "frame_blocks", "global_blocks", "ray_embed")
_ALWAYS_FP32 = "lr_fc"


def as_multiplied(params: _T, policy: Policy) -> _T:
    """Parameters with the matrices of the backbone in the format that products take them in.

    A policy that computes in bf16 rounds these matrices whenever it uses them. Rounded once they
    give the same numbers, in little more than half the memory. For inference: training needs the
    bits that are lost.

    Args:
      params: of a `ZipMap`: arrays, or their shapes.
      policy: number formats of that model.

    Returns:
      The same tree.
    """

    def convert(path: Any, leaf: Any) -> Any:
        dtype = stored_format("/".join(key.key for key in path), policy)
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, dtype)
        return leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(convert, params)


def stored_format(name: str, policy: Policy) -> Any:
    """Format of the parameter `name`, such as "frame_blocks/attn/qkv/kernel"."""
    parts = name.split("/")
    multiplied = parts[0] in _BACKBONE and parts[-1] == "kernel" and _ALWAYS_FP32 not in parts
    return policy.compute if multiplied else jnp.float32
