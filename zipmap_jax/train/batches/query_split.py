"""Splits the views of a scene into zipped and rendered ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Array, Int, Key

    from zipmap_jax.train.step import Batch


VIEW_ARRAYS = ("images", "depth", "valid", "intrinsics", "w2c")
"""Entries of a batch with a view axis; all others belong to the scene."""


def split_views(
    key: Key[Array, ""], total: int, views: int, targets: int
) -> tuple[Int[Array, " v"], Int[Array, " q"]]:
    """Draw which views are zipped and which are rendered.

    Zipped are, in this order, the first view, the last, and others at multiples of
    `total // (views - 1)` in random order. Rendered are views that are not zipped, and possibly
    one that is.

    Args:
      key: random key.
      total: views of the scene.
      views: number of views to zip, at least 2.
      targets: number of views to render, at least 1.

    Returns:
      Indices of the views to zip, and of those to render.

    Raises:
      UserError: a number is too small, or the scene has too few views.

    Source: training recipe, section 3.2.
    """
    if views < 2 or targets < 1 or total < views + targets - 1:
        raise UserError(
            f"a state query needs at least 2 views and 1 target, and views + targets - 1 views in "
            f"a scene, got {views}, {targets} and {total}: change the bucket or draw more views"
        )
    inner, extra, rest = jax.random.split(key, 3)
    step = total // (views - 1)
    # There are never fewer than views - 2 of them, as total >= views.
    between = jnp.arange(step, total - 1, step)
    between = jax.random.permutation(inner, between)[: views - 2]
    zipped = jnp.concatenate([jnp.array([0, total - 1]), between])
    again = zipped[jax.random.randint(extra, (), 0, views)]
    taken = jnp.zeros(total, bool).at[zipped].set(True).at[again].set(False)
    order = jnp.argsort(jnp.where(taken, jnp.inf, jax.random.uniform(rest, (total,))))
    return zipped, order[:targets]


def split_batch(key: Key[Array, ""], batch: Mapping[str, Any], views: int, targets: int) -> Batch:
    """Split the views of a microbatch's scenes into those to zip and those to render, in all alike.

    Args:
      key: random key.
      batch: `images` [b, s, h, w, 3], `depth` and `valid` [b, s, h, w], `intrinsics`
        [b, s, 3, 3], `w2c` [b, s, 4, 4]; other entries pass through.
      views: number of views to zip.
      targets: number of views to render; 0 = the batch is returned as it is.

    Returns:
      The batch with the views to zip, and those to render as `target_images`, `target_depth` ...

    Raises:
      UserError: see `split_views`.

    Source: training recipe, section 3.2.
    """
    if targets == 0:
        return dict(batch)

    zipped, rendered = split_views(key, batch["images"].shape[1], views, targets)
    inputs = {name: batch[name][:, zipped] for name in VIEW_ARRAYS}
    queried = {f"target_{name}": batch[name][:, rendered] for name in VIEW_ARRAYS}
    return {**batch, **inputs, **queried}
