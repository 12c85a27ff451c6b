"""Depth and pose errors of a model, side by side with those of the trivial answer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.eval.metrics import DepthMetric, PairwisePoseMetric
from zipmap_jax.eval.rendered import RENDERED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jaxtyping import Bool, Float

Numbers = dict[str, dict[str, float]]
"""Metrics of `MEANING` under "model" and under "trivial"."""

MEANING: dict[str, str] = {
    "AbsRel": "mean of |d - d*| / d* over the depth d of all pixels; lower is better",
    "delta<1.25": "share of pixels with max(d / d*, d* / d) < 1.25",
    "RRA@5": "pairs of views whose relative rotation is off by less than 5 degrees, %",
    "RRA@15": "less than 15 degrees",
    "RRA@30": "less than 30 degrees",
    "RTA@5": "pairs of views whose direction of motion is off by less than 5 degrees, %",
    "RTA@15": "less than 15 degrees",
    "RTA@30": "less than 30 degrees",
    "AUC@30": "area under the accuracy curve of the larger of both angles, %",
}


@dataclasses.dataclass(frozen=True)
class Answer:
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
    ) -> Answer:
        """These errors and those of one more scene."""
        return Answer(
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

    model: Answer = dataclasses.field(default_factory=Answer)
    trivial: Answer = dataclasses.field(default_factory=Answer)

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


def table(numbers: Mapping[str, Mapping[str, float]], names: Iterable[str] | None = None) -> str:
    """Metrics as lines of text: name, one column per answer, meaning.

    Args:
      numbers: metrics by the name of the answer.
      names: metrics to show; None = all there are.
    """
    meaning = MEANING | RENDERED
    names = next(iter(numbers.values())) if names is None else names
    lines = [f"{'metric':<12}" + "".join(f"{answer:>9}" for answer in numbers) + "  meaning"]
    for name in names:
        values = "".join(f"{row[name]:>9.3f}" for row in numbers.values())
        lines.append(f"{name:<12}{values}  {meaning[name]}")
    return "\n".join(lines)
