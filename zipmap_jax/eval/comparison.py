"""Depth and pose errors of a model, side by side with those of the trivial answer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.eval.metrics import DepthMetric, PairwisePoseMetric
from zipmap_jax.eval.report import MEANING, Numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Bool, Float


@dataclasses.dataclass(frozen=True)
class Method:
    """Errors of one kind of answer, pooled over the scenes seen so far.

    Attributes:
      depth: all depth of a scene is scaled by one ratio of medians; scenes weigh by their pixels.
      poses: compared pair by pair, without alignment.
    """

    depth: DepthMetric = dataclasses.field(default_factory=DepthMetric)
    poses: PairwisePoseMetric = dataclasses.field(default_factory=PairwisePoseMetric)

    def with_scene(
        self,
        depth: Float[np.ndarray, "v h w"],
        w2c: Float[np.ndarray, "v 4 4"],
        truth: Mapping[str, np.ndarray],
        seen: Bool[np.ndarray, "v h w"],
    ) -> Method:
        """These errors and those of one more scene."""
        return Method(
            self.depth.merge(DepthMetric.from_depth(depth, truth["depth"], seen, "median")),
            self.poses.merge(PairwisePoseMetric.from_poses(w2c, truth["w2c"])),
        )

    def numbers(self) -> dict[str, float]:
        """The metrics of `MEANING`."""
        computed = self.depth.compute() | self.poses.compute()
        return {name: computed[name] for name in MEANING}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A model and the trivial answer, on the same scenes.

    The trivial answer is a constant depth (the true median of the scene, after scaling) and the
    same pose for every view, whose baselines of length zero are 90 degrees off.
    """

    model: Method = dataclasses.field(default_factory=Method)
    trivial: Method = dataclasses.field(default_factory=Method)

    def with_scene(
        self,
        depth: Float[np.ndarray, "v h w"],
        w2c: Float[np.ndarray, "v 4 4"],
        truth: Mapping[str, np.ndarray],
    ) -> Comparison:
        """This comparison with one more scene.

        Args:
          depth: answered, in any unit; pixels where it is not finite do not count.
          w2c: answered poses, in any world frame.
          truth: `depth` and `valid` [v, h, w] and `w2c` [v, 4, 4] of the same views.
        """
        seen = truth["valid"] & np.isfinite(depth)
        constant, still = np.ones_like(depth), np.broadcast_to(np.eye(4), w2c.shape)
        return Comparison(
            self.model.with_scene(depth, w2c, truth, seen),
            self.trivial.with_scene(constant, still, truth, seen),
        )

    def numbers(self) -> Numbers:
        """The metrics of both answers."""
        return {"model": self.model.numbers(), "trivial": self.trivial.numbers()}
