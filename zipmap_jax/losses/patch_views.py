"""Supervision of single patches of rendered views by their colour and depth.

From random weights the rendering head needs many steps before it uses its tokens. A linear map of
the tokens provides a training signal from the first step. The loss is not part of the published
recipe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from zipmap_jax.losses.robust import masked_mean

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.losses.target import QueryTarget

NUMBERS = 4
"""Numbers predicted per patch: a mean colour, and the logarithm of a depth."""
_COLOUR_WEIGHT = 4.0


def patch_view_loss(predicted: Float[Array, "b q l p 4"], target: QueryTarget) -> Float[Array, ""]:
    """L1 distance of the colours and log depths predicted from patches of rendered views.

    Args:
      predicted: colour and log depth per patch of every view, row by row, in some layers.
      target: ground truth.

    Returns:
      The loss; the weight doubles with every layer, and the last layer has weight 1.
    """
    colours, depths, known = patch_views(target, predicted.shape[3])
    colour = jnp.mean(jnp.abs(predicted[..., :3] - colours[:, :, None]), (0, 1, 3, 4))
    depth = jnp.abs(predicted[..., 3] - depths[:, :, None])
    layers = predicted.shape[2]
    each = [_COLOUR_WEIGHT * colour[i] + masked_mean(depth[:, :, i], known) for i in range(layers)]
    return jnp.sum(jnp.stack(each) * 0.5 ** jnp.arange(layers - 1, -1, -1, dtype=colour.dtype))


def patch_views(
    target: QueryTarget, patches: int
) -> tuple[Float[Array, "b q p 3"], Float[Array, "b q p"], Bool[Array, "b q p"]]:
    """Mean colour and mean log depth of each patch.

    Args:
      target: ground truth.
      patches: number of square patches of a view.

    Returns:
      Mean colours, means of the logarithms of the valid depths, and whether a patch has any.
    """
    height, width = target.depth.shape[2:]
    side = round((height * width / patches) ** 0.5)

    def cut(x: Float[Array, "b q h w c"]) -> Float[Array, "b q p s c"]:
        b, q, _, _, c = x.shape
        x = x.reshape(b, q, height // side, side, width // side, side, c)
        return x.swapaxes(3, 4).reshape(b, q, patches, side * side, c)

    mask = target.mask & (target.depth > 0)
    logs = jnp.log(jnp.where(mask, target.depth, 1.0))
    number = jnp.sum(cut(mask[..., None].astype(logs.dtype)), axis=(3, 4))
    depths = jnp.sum(cut(logs[..., None]), axis=(3, 4)) / jnp.maximum(number, 1)
    return jnp.mean(cut(target.images), axis=3), depths, number > 0
