"""A model on fixed procedural scenes that no training run contains, beside the trivial answer."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.eval.comparison import Comparison
from zipmap_jax.eval.rendered import RenderedComparison
from zipmap_jax.procedural import ProceduralConfig, held_out_batch
from zipmap_jax.structs import Views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxtyping import Array, Float

    from zipmap_jax.eval.report import Numbers
    from zipmap_jax.models.zipmap import ZipMap
    from zipmap_jax.structs import Prediction

Batch = dict[str, np.ndarray]


def held_out_scenes(
    count: int, views: int = 8, height: int = 112, width: int = 154, batch: int = 4
) -> Iterator[Batch]:
    """The first `count` held-out scenes on the host, rendered as they are asked for.

    Args:
      count: number of scenes.
      views, height, width: of every scene.
      batch: scenes worked on at once; the scenes do not depend on it.
    """
    config = ProceduralConfig(views=views, height=height, width=width)
    for start in range(0, count, batch):
        drawn = jax.device_get(held_out_batch(config, start // batch, batch))
        yield {name: array[: count - start] for name, array in drawn.items()}


def evaluate(model: ZipMap, params: Any, batches: Iterable[Batch]) -> Numbers:
    """Depth and pose errors pooled over scenes, and those of the trivial answer.

    Of a state-query model also the errors of every second view, rendered from the others.

    Args:
      model: any variant; all views of a scene go into one `update`.
      params: its parameters.
      batches: `images`, `depth`, `valid`, `w2c`, `intrinsics`, as the procedural source makes them.
    """
    comparison, rendered = Comparison(), RenderedComparison()
    for batch in batches:
        prediction = jax.device_get(predict(model, params, batch["images"]))
        w2c = prediction.w2c
        for i, (depth, poses) in enumerate(zip(prediction.depth, np.asarray(w2c), strict=True)):
            truth = {name: array[i] for name, array in batch.items()}
            comparison = comparison.with_scene(depth, poses, truth)
        if model.query_channels:
            rendered = rendered.with_batch(model, params, batch)
    numbers = comparison.numbers()
    if model.query_channels:
        more = rendered.numbers()
        numbers = {answer: row | more[answer] for answer, row in numbers.items()}
    return numbers


@functools.partial(jax.jit, static_argnames="model")
def predict(model: ZipMap, params: Any, images: Float[Array, "b v h w 3"]) -> Prediction:
    """What a model makes of all views of some scenes, zipped in one `update`."""
    return model.update(params, model.init_state(params, images.shape[0]), Views(images))[1]
