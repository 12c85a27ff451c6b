"""Errors of views rendered from a zipped scene, for a model and the trivial prediction."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.data.batch_arrays import take_views
from zipmap_jax.eval.metrics.rendering import RenderedMethod
from zipmap_jax.geometry import query_frame, ray_conditions
from zipmap_jax.structs import Views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Array, Float

    from zipmap_jax.eval.report import Numbers
    from zipmap_jax.models.api import Model
    from zipmap_jax.structs import Prediction


@dataclasses.dataclass(frozen=True)
class RenderedComparison:
    """Errors of a model and of the mean colour of the zipped views at a constant depth."""

    model: RenderedMethod = dataclasses.field(default_factory=RenderedMethod)
    trivial: RenderedMethod = dataclasses.field(default_factory=RenderedMethod)

    def with_batch(
        self, model: Model, params: Any, batch: Mapping[str, np.ndarray]
    ) -> RenderedComparison:
        """This comparison with the scenes of a batch, see `render_half`."""
        zipped, rendered = halves(batch)
        prediction = jax.device_get(render_half(model, params, batch))
        out = self
        for i, (rgb, depth) in enumerate(zip(prediction.rgb, prediction.depth, strict=True)):
            truth = {name: x[i] for name, x in rendered.items()}
            mean = np.broadcast_to(zipped["images"][i].mean(axis=(0, 1, 2)), rgb.shape)
            out = RenderedComparison(
                out.model.with_scene(rgb, depth, truth),
                out.trivial.with_scene(mean, np.ones_like(depth), truth),
            )
        return out

    def numbers(self) -> Numbers:
        """The metrics of both methods."""
        return {"model": self.model.numbers(), "trivial": self.trivial.numbers()}


def halves(batch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The even views of each scene, to zip, and the odd views, to render."""
    even, odd = (
        {name: take_views(array, name, slice(i, None, 2)) for name, array in batch.items()}
        for i in (0, 1)
    )
    return even, odd


def render_half(model: Model, params: Any, batch: Mapping[str, Any]) -> Prediction:
    """The odd views of each scene, rendered after zipping the even ones."""
    zipped, rendered = halves(batch)
    cameras = (zipped["w2c"], rendered["w2c"], rendered["intrinsics"])
    return render(model, params, zipped["images"], *cameras)


@functools.partial(jax.jit, static_argnames="model")
def render(
    model: Model,
    params: Any,
    images: Float[Array, "b v h w 3"],
    w2c: Float[Array, "b v 4 4"],
    query_w2c: Float[Array, "b q 4 4"],
    intrinsics: Float[Array, "b q 3 3"],
) -> Prediction:
    """Zip some views of each scene and render other views of the same size."""
    state = model.init_state(params, images.shape[0])
    state, _ = model.update(params, state, Views(images))
    _, cameras, _ = query_frame(w2c, query_w2c)
    height, width = images.shape[2:4]
    return model.read(params, state, ray_conditions(cameras, intrinsics, (height, width)))
