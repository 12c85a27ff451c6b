"""Metrics of rendered views."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.eval.metrics import DepthMetric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float


RENDERED: dict[str, str] = {
    "PSNR": "peak signal-to-noise ratio of rendered views, dB, mean over views; higher is better",
    "AbsRel (r)": "AbsRel of the depth of rendered views",
    "delta (r)": "delta<1.25 of the depth of rendered views",
}


@dataclasses.dataclass(frozen=True)
class RenderedMethod:
    """Errors of the rendered views of one method, pooled over scenes.

    Attributes:
      decibels: sum of the peak signal-to-noise ratios.
      views: number of views.
      depth: depth metrics after median scaling per scene.
    """

    decibels: float = 0.0
    views: int = 0
    depth: DepthMetric = dataclasses.field(default_factory=DepthMetric)

    def with_scene(
        self,
        rgb: Float[np.ndarray, "v h w 3"],
        depth: Float[np.ndarray, "v h w"],
        truth: Mapping[str, np.ndarray],
    ) -> RenderedMethod:
        """The errors with those of one more scene."""
        errors = np.mean(np.square(np.float64(rgb) - truth["images"]), axis=(1, 2, 3))
        valid = truth["valid"] & np.isfinite(depth)
        metric = DepthMetric.from_depth(depth, truth["depth"], valid, "median")
        return RenderedMethod(
            self.decibels - 10 * float(np.sum(np.log10(np.maximum(errors, 1e-10)))),
            self.views + len(rgb),
            self.depth.merge(metric),
        )

    def numbers(self) -> dict[str, float]:
        """The metrics of `RENDERED`."""
        depth = self.depth.compute()
        values = (self.decibels / max(self.views, 1), depth["AbsRel"], depth["delta<1.25"])
        return dict(zip(RENDERED, values, strict=True))
