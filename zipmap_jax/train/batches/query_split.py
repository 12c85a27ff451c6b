"""Splits the views of a scene into input views and target views of a state query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.data.batch_arrays import TARGET, arrays_of_views, take_views
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Array, Int, Key

    from zipmap_jax.train.step import Batch


def split_views(
    key: Key[Array, ""], total: int, views: int, targets: int
) -> tuple[Int[Array, " v"], Int[Array, " q"]]:
    """Draw the input views and the target views of a scene.

    Input views are the first view, the last, and others at multiples of `total // (views - 1)` in
    random order. Target views are others, and possibly one of the input views.

    Args:
      key: random key.
      total: number of views of the scene.
      views: number of input views, at least 2.
      targets: number of target views, at least 1.

    Returns:
      Indices of the input views [v], and of the target views [q].

    Raises:
      UserError: a number is too small, or the scene has too few views.

    Source: training recipe, section 3.2.
    """
    if views < 2 or targets < 1 or total < views + targets - 1:
        raise UserError(
            f"a state query needs at least 2 views and 1 target, and views + targets - 1 views in "
            f"a scene, but got {views}, {targets} and {total}: change the bucket or raise its drawn"
        )
    inner, extra, rest = jax.random.split(key, 3)
    step = total // (views - 1)
    # At least views - 2 remain, since total >= views.
    between = jnp.arange(step, total - 1, step)
    between = jax.random.permutation(inner, between)[: views - 2]
    zipped = jnp.concatenate([jnp.array([0, total - 1]), between])
    shared = zipped[jax.random.randint(extra, (), 0, views)]  # may be a target view too
    excluded = jnp.zeros(total, bool).at[zipped].set(True).at[shared].set(False)
    order = jnp.argsort(jnp.where(excluded, jnp.inf, jax.random.uniform(rest, (total,))))
    return zipped, order[:targets]


def split_batch(key: Key[Array, ""], batch: Mapping[str, Any], views: int, targets: int) -> Batch:
    """Split the views of a microbatch into input and target views, the same in all its scenes.

    Args:
      key: random key.
      batch: arrays of `batch_arrays.POSED_VIEWS`; arrays without views pass through.
      views: number of input views.
      targets: number of target views; 0 = the batch is returned unchanged.

    Returns:
      The batch with the input views, and the target views as `target_images`, `target_depth` ...

    Raises:
      UserError: a number is too small, or the scenes have too few views.

    Source: training recipe, section 3.2.
    """
    if targets == 0:
        return dict(batch)
    zipped, rendered = split_views(key, batch["images"].shape[1], views, targets)
    inputs = {name: take_views(array, name, zipped) for name, array in batch.items()}
    queried = {
        TARGET + name: take_views(batch[name], name, rendered) for name in arrays_of_views(batch)
    }
    return inputs | queried
