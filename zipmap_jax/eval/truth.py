"""One reconstruction against the truth of the scene it was made of, beside a trivial answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.eval.metrics.depth import DepthMetric
from zipmap_jax.eval.metrics.pose import PairwisePoseMetric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float

    from zipmap_jax.structs import Scene

MEANING = {
    "AbsRel": "mean of |d - d*| / d* over the depth d of all pixels; lower is better",
    "delta<1.25": "share of pixels with max(d / d*, d* / d) < 1.25",
    "RRA@30": "pairs of views whose relative rotation is off by less than 30 degrees, %",
    "RTA@30": "the same for the direction of their baseline, %",
    "AUC@30": "area under the accuracy curve of the larger of both errors, %",
}
"""What `compare` measures."""


def compare(scene: Scene, truth: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Depth and pose errors of a reconstruction and of the trivial answer.

    All depth of a scene is scaled by one ratio of medians; pixels that the network did not see do
    not count. Poses are compared pair by pair, without alignment. The trivial answer is a constant
    depth (at the true median after scaling) and the same pose for every view.

    Args:
      scene: of images that have the size of the true depth.
      truth: `depth` and `valid` [v, h, w] and `w2c` [v, 4, 4], in the order of the views.

    Returns:
      The metrics of `MEANING` under "model" and under "trivial".
    """
    depth = np.stack(scene.depth)
    seen = truth["valid"] & np.isfinite(depth)
    still = np.broadcast_to(np.eye(4), scene.w2c.shape)

    def errors(
        depth: Float[np.ndarray, "v h w"], w2c: Float[np.ndarray, "v 4 4"]
    ) -> dict[str, float]:
        of_depth = DepthMetric.from_depth(depth, truth["depth"], seen, "median")
        found = of_depth.compute() | PairwisePoseMetric.from_poses(w2c, truth["w2c"]).compute()
        return {name: found[name] for name in MEANING}

    return {"model": errors(depth, scene.w2c), "trivial": errors(np.ones_like(depth), still)}


def table(errors: Mapping[str, Mapping[str, float]]) -> str:
    """The result of `compare` as lines of text: name, one column per answer, meaning."""
    lines = [f"{'':<12}" + "".join(f"{answer:>9}" for answer in errors)]
    for name, meaning in MEANING.items():
        values = "".join(f"{numbers[name]:>9.3f}" for numbers in errors.values())
        lines.append(f"{name:<12}{values}   {meaning}")
    return "\n".join(lines)
