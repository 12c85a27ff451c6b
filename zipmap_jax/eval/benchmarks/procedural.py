"""Evaluation on held-out procedural scenes, with the trivial prediction as the baseline."""

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
    from zipmap_jax.models.api import Model
    from zipmap_jax.structs import Prediction

Batch = dict[str, np.ndarray]


def held_out_scenes(
    count: int, views: int = 8, height: int = 112, width: int = 154, batch: int = 4
) -> Iterator[Batch]:
    """The first `count` held-out scenes, rendered lazily, as host arrays.

    Args:
      count: number of scenes.
      views, height, width: views per scene, and their size in pixels.
      batch: scenes per batch, which does not affect the scenes.
    """
    config = ProceduralConfig(views=views, height=height, width=width)
    for start in range(0, count, batch):
        scenes = jax.device_get(held_out_batch(config, start // batch, batch))
        yield {name: array[: count - start] for name, array in scenes.items()}


def evaluate(model: Model, params: Any, batches: Iterable[Batch]) -> Numbers:
    """Depth and pose errors of a model and of the trivial prediction, pooled over scenes.

    State-query models also render every second view from the others.

    Args:
      model: any variant; one `update` takes all views of a scene.
      params: parameters of the model.
      batches: `images`, `depth`, `valid`, `w2c` and `intrinsics` of procedural scenes.
    """
    comparison, rendered = Comparison(), RenderedComparison()
    for batch in batches:
        prediction = jax.device_get(predict(model, params, batch["images"]))
        scenes = zip(prediction.depth, prediction.w2c, prediction.intrinsics, strict=True)
        for i, predicted in enumerate(scenes):
            truth = {name: array[i] for name, array in batch.items()}
            comparison = comparison.with_scene(*predicted, truth)
        if model.query_channels:
            rendered = rendered.with_batch(model, params, batch)
    numbers = comparison.numbers()
    if model.query_channels:
        of_rendered = rendered.numbers()
        numbers = {method: row | of_rendered[method] for method, row in numbers.items()}
    return numbers


@functools.partial(jax.jit, static_argnames="model")
def predict(model: Model, params: Any, images: Float[Array, "b v h w 3"]) -> Prediction:
    """Prediction of all views of some scenes in one `update`."""
    return model.update(params, model.init_state(params, images.shape[0]), Views(images))[1]
