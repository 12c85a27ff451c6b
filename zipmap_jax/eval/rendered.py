"""Errors of views rendered from a zipped scene, beside those of the trivial answer."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.eval.metrics import DepthMetric
from zipmap_jax.geometry import query_frame, ray_conditions
from zipmap_jax.structs import Views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Array, Float

    from zipmap_jax.eval.comparison import Numbers
    from zipmap_jax.models.zipmap import ZipMap
    from zipmap_jax.structs import Prediction

RENDERED: dict[str, str] = {
    "PSNR": "of rendered views: peak signal-to-noise ratio, dB, mean over views; higher is better",
    "AbsRel (r)": "AbsRel of the depth of rendered views",
    "delta (r)": "delta<1.25 of the depth of rendered views",
}


@dataclasses.dataclass(frozen=True)
class RenderedAnswer:
    """Errors of one kind of answer, pooled over the views rendered so far.

    Attributes:
      decibels: sum of the peak signal-to-noise ratios.
      views: number of views.
      depth: as in `Comparison`.
    """

    decibels: float = 0.0
    views: int = 0
    depth: DepthMetric = dataclasses.field(default_factory=DepthMetric)

    def with_scene(
        self,
        rgb: Float[np.ndarray, "v h w 3"],
        depth: Float[np.ndarray, "v h w"],
        truth: Mapping[str, np.ndarray],
    ) -> RenderedAnswer:
        """These errors and those of the rendered views of one more scene."""
        errors = np.mean(np.square(np.float64(rgb) - truth["images"]), axis=(1, 2, 3))
        seen = truth["valid"] & np.isfinite(depth)
        metric = DepthMetric.from_depth(depth, truth["depth"], seen, "median")
        return RenderedAnswer(
            self.decibels - 10 * float(np.sum(np.log10(np.maximum(errors, 1e-10)))),
            self.views + len(rgb),
            self.depth.merge(metric),
        )

    def numbers(self) -> dict[str, float]:
        """The metrics of `RENDERED`."""
        depth = self.depth.compute()
        values = (self.decibels / max(self.views, 1), depth["AbsRel"], depth["delta<1.25"])
        return dict(zip(RENDERED, values, strict=True))


@dataclasses.dataclass(frozen=True)
class RenderedComparison:
    """A model and the trivial answer: the mean colour of the zipped views, at one depth."""

    model: RenderedAnswer = dataclasses.field(default_factory=RenderedAnswer)
    trivial: RenderedAnswer = dataclasses.field(default_factory=RenderedAnswer)

    def with_batch(
        self, model: ZipMap, params: Any, batch: Mapping[str, np.ndarray]
    ) -> RenderedComparison:
        """This comparison with more scenes, see `render_half`."""
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
        """The metrics of both answers."""
        return {"model": self.model.numbers(), "trivial": self.trivial.numbers()}


def halves(batch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The even views of each scene, which are zipped, and the odd ones, which are rendered."""
    even, odd = ({name: array[:, i::2] for name, array in batch.items()} for i in (0, 1))
    return even, odd


def render_half(model: ZipMap, params: Any, batch: Mapping[str, Any]) -> Prediction:
    """The odd views of each scene, rendered after zipping the even ones."""
    zipped, rendered = halves(batch)
    return render(
        model,
        params,
        zipped["images"],
        zipped["w2c"],
        rendered["w2c"],
        rendered["intrinsics"],
    )


@functools.partial(jax.jit, static_argnames="model")
def render(
    model: ZipMap,
    params: Any,
    images: Float[Array, "b v h w 3"],
    w2c: Float[Array, "b v 4 4"],
    query_w2c: Float[Array, "b q 4 4"],
    intrinsics: Float[Array, "b q 3 3"],
) -> Prediction:
    """Zip some views of each scene and render others of the same size from their cameras."""
    state = model.init_state(params, images.shape[0])
    state, _ = model.update(params, state, Views(images))
    _, cameras, _ = query_frame(w2c, query_w2c)
    height, width = images.shape[2:4]
    return model.read(params, state, ray_conditions(cameras, intrinsics, (height, width)))
