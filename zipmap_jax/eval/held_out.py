"""A model on fixed procedural scenes that no training run contains, beside a trivial answer."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.data.datasets.procedural import ProceduralConfig, held_out_batch
from zipmap_jax.eval.metrics import DepthMetric, PairwisePoseMetric
from zipmap_jax.geometry import decode_pose
from zipmap_jax.structs import Views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jaxtyping import Array, Float

    from zipmap_jax.models.zipmap import ZipMap
    from zipmap_jax.structs import Prediction

Batch = dict[str, np.ndarray]
Numbers = dict[str, dict[str, float]]
"""The metrics of `METRICS` under "model" and under "trivial"."""

METRICS: dict[str, str] = {
    "AbsRel": "mean of |d - d*| / d* over the depth d of all pixels; lower is better",
    "delta<1.25": "share of pixels with max(d / d*, d* / d) < 1.25",
    "RRA@5": "pairs of views whose relative rotation is off by less than 5 degrees, %",
    "RRA@15": "less than 15 degrees",
    "RRA@30": "less than 30 degrees",
    "RTA@5": "pairs of views whose direction of motion is off by less than 5 degrees, %",
    "RTA@15": "less than 15 degrees",
    "RTA@30": "less than 30 degrees",
    "AUC@30": "area under the accuracy curve of the larger of both errors, %",
}


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

    All depth of a scene is scaled by one ratio of medians; scenes weigh by their valid pixels.
    Poses are compared pair by pair, without alignment, and pooled. The trivial answer is a constant
    depth (the true median of the scene, after scaling) and the same pose for every view, whose
    baselines of length zero are 90 degrees off.

    Args:
      model: any variant; all views of a scene go into one `update`.
      params: its parameters.
      batches: `images`, `depth`, `valid`, `w2c`, as the procedural source makes them.
    """
    depth = {"model": DepthMetric(), "trivial": DepthMetric()}
    poses = {"model": PairwisePoseMetric(), "trivial": PairwisePoseMetric()}
    for batch in batches:
        prediction = jax.device_get(_predict(model, params, batch["images"]))
        w2c, _ = decode_pose(prediction.pose_enc[-1], batch["images"].shape[2:4])
        constant, still = np.ones_like(batch["depth"]), np.broadcast_to(np.eye(4), w2c.shape)
        answers = {"model": (prediction.depth, w2c), "trivial": (constant, still)}
        for name, (answered, cameras) in answers.items():
            for scene in range(len(w2c)):
                true, valid = batch["depth"][scene], batch["valid"][scene]
                found = DepthMetric.from_depth(answered[scene], true, valid, "median")
                depth[name] = depth[name].merge(found)
                pairs = PairwisePoseMetric.from_poses(cameras[scene], batch["w2c"][scene])
                poses[name] = poses[name].merge(pairs)
    computed = {name: depth[name].compute() | poses[name].compute() for name in depth}
    return {name: {metric: row[metric] for metric in METRICS} for name, row in computed.items()}


@functools.partial(jax.jit, static_argnames="model")
def _predict(model: ZipMap, params: Any, images: Float[Array, "b v h w 3"]) -> Prediction:
    return model.update(params, model.init_state(params, images.shape[0]), Views(images))[1]


def table(numbers: Mapping[str, Mapping[str, float]]) -> str:
    """The result of `evaluate` as lines of text: metric, model, trivial answer, meaning."""
    lines = [f"{'metric':<12}" + "".join(f"{answer:>9}" for answer in numbers) + "  meaning"]
    for name, meaning in METRICS.items():
        values = "".join(f"{row[name]:>9.3f}" for row in numbers.values())
        lines.append(f"{name:<12}{values}  {meaning}")
    return "\n".join(lines)
