"""What a new run starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from zipmap_jax.train.optimizer import path_name

if TYPE_CHECKING:
    from jaxtyping import Array, Key

    from zipmap_jax.models.zipmap import ZipMap


def random_parameters(
    model: ZipMap, key: Key[Array, ""], token_scale: float | None = None
) -> dict[str, Any]:
    """Freshly drawn parameters, with special tokens that can be trained from scratch.

    The published initial tokens have a standard deviation of 1e-6, which suits a start from
    pretrained weights. The layer norm behind them multiplies gradients by up to 1000 at that size,
    so that the tokens alone would fill the clipped gradient.

    Args:
      model: the model.
      key: random key.
      token_scale: standard deviation of every learned token; None = as the model draws them.
    """
    first, second = jax.random.split(key)
    params = model.init(first)
    if token_scale is None:
        return params

    def redrawn(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        name = path_name(path)
        if not name.endswith(("_token", "_tokens")) or name.startswith("camera_head"):
            return leaf
        noise = jax.random.normal(jax.random.fold_in(second, hash_of(name)), leaf.shape)
        return token_scale * noise

    return jax.tree_util.tree_map_with_path(redrawn, params)


def hash_of(name: str) -> int:
    """A number for a parameter path, the same in every process."""
    return int.from_bytes(name.encode(), "big") % (2**31 - 1)
