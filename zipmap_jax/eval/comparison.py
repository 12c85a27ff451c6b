"""Depth and pose errors of a model and of the trivial prediction."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.eval.metrics import DepthMetric, FocalMetric, PairwisePoseMetric
from zipmap_jax.eval.report import MEANING, Numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Bool, Float

_TRIVIAL_FOV = 60.0


@dataclasses.dataclass(frozen=True)
class Method:
    """Errors of one method, pooled over scenes.

    Attributes:
      depth: depth metrics after median scaling per scene; scenes are weighted by their pixels.
      poses: pairwise pose metrics, without alignment.
      focal: errors of focal lengths.
    """

    depth: DepthMetric = dataclasses.field(default_factory=DepthMetric)
    poses: PairwisePoseMetric = dataclasses.field(default_factory=PairwisePoseMetric)
    focal: FocalMetric = FocalMetric()

    def with_scene(
        self,
        depth: Float[np.ndarray, "v h w"],
        w2c: Float[np.ndarray, "v 4 4"],
        intrinsics: Float[np.ndarray, "v 3 3"],
        truth: Mapping[str, np.ndarray],
        valid: Bool[np.ndarray, "v h w"],
    ) -> Method:
        """The errors with those of one more scene."""
        return Method(
            self.depth.merge(DepthMetric.from_depth(depth, truth["depth"], valid, "median")),
            self.poses.merge(PairwisePoseMetric.from_poses(w2c, truth["w2c"])),
            self.focal.merge(FocalMetric.from_intrinsics(intrinsics, truth["intrinsics"])),
        )

    def numbers(self) -> dict[str, float]:
        """The metrics of `MEANING`."""
        computed = self.depth.compute() | self.poses.compute() | self.focal.compute()
        return {name: computed[name] for name in MEANING}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Errors of a model and of the trivial prediction on the same scenes.

    The trivial prediction is a constant depth (after scaling, the true median of the scene), one
    pose for all views, whose zero baselines count as 90 degrees, and a field of view of 60 degrees
    along the longer side.
    """

    model: Method = dataclasses.field(default_factory=Method)
    trivial: Method = dataclasses.field(default_factory=Method)

    def with_scene(
        self,
        depth: Float[np.ndarray, "v h w"],
        w2c: Float[np.ndarray, "v 4 4"],
        intrinsics: Float[np.ndarray, "v 3 3"],
        truth: Mapping[str, np.ndarray],
    ) -> Comparison:
        """This comparison with one more scene.

        Args:
          depth: predicted depth in any unit; pixels that are not finite do not count.
          w2c: predicted poses in any world frame.
          intrinsics: predicted intrinsics, in pixels of the depth.
          truth: `depth` and `valid` [v, h, w], `w2c` [v, 4, 4] and `intrinsics` [v, 3, 3] of the
            same views.
        """
        valid = truth["valid"] & np.isfinite(depth)
        constant, still = np.ones_like(depth), np.broadcast_to(np.eye(4), w2c.shape)
        focal = max(depth.shape[1:]) / (2 * np.tan(np.radians(_TRIVIAL_FOV) / 2))
        usual = np.broadcast_to(np.diag([focal, focal, 1.0]), intrinsics.shape)
        return Comparison(
            self.model.with_scene(depth, w2c, intrinsics, truth, valid),
            self.trivial.with_scene(constant, still, usual, truth, valid),
        )

    def numbers(self) -> Numbers:
        """The metrics of both methods."""
        return {"model": self.model.numbers(), "trivial": self.trivial.numbers()}
