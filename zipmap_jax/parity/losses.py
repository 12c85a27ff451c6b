"""Comparison of the training losses of recorded batches: terms, and gradients of the objective."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.data.datasets.table import DATA_SETS
from zipmap_jax.errors import UserError, nearest
from zipmap_jax.geometry import encode_pose, homogeneous
from zipmap_jax.losses import LossConfig, QueryTarget, Target, total_loss
from zipmap_jax.losses.config import CameraKind
from zipmap_jax.losses.normalise import alignment_scale, prediction_unit
from zipmap_jax.parity.report import TensorComparison, Tolerance, compare
from zipmap_jax.structs import HeadOutputs

if TYPE_CHECKING:
    from jaxtyping import Bool

Arrays = Mapping[str, np.ndarray]

# The reference differs between float32 and float64 by 2e-6 for terms and 1.5e-5 for gradients.
TERMS = Tolerance(1e-5, ignored=1e-8)
SCALES = Tolerance(1e-5)
GRADIENTS = Tolerance(1e-4, "rms")
NORMS = Tolerance(1e-4)

STAGES: dict[str, CameraKind] = {
    "stage2": "absolute",
    "stage3": "pairwise",
    "online": "pairwise",
    "nvs": "absolute",
}


def detailed_depth(names: np.ndarray) -> Bool[np.ndarray, " b"]:
    """Whether the depth of scenes supervises normals, by the names of their data sets.

    Raises:
      UserError: a name is not in the table of data sets.
    """
    for name in names:
        if name not in DATA_SETS:
            raise UserError(
                f"a recording names the data set {name}, which is not in the table of data sets: "
                f"{nearest(str(name), DATA_SETS)} is the nearest name; rename it in the recording"
            )
    return np.array([DATA_SETS[name].detailed for name in names], bool)


def recorded_target(arrays: Arrays) -> Target:
    """Recorded ground truth of the input views, which is already normalised."""
    height, width = (int(n) for n in arrays["in.image_hw"])
    w2c, intrinsics = arrays["in.extrinsics"], arrays["in.intrinsics"]
    return Target(
        w2c=jnp.asarray(homogeneous(w2c)),
        intrinsics=jnp.asarray(intrinsics),
        pose_enc=jnp.asarray(encode_pose(w2c, intrinsics, (height, width))),
        depth=jnp.asarray(arrays["in.depths"]),
        cam_points=jnp.asarray(arrays["in.cam_points"]),
        mask=jnp.asarray(arrays["in.point_masks"]),
        detailed=jnp.asarray(detailed_depth(arrays["in.dataset_name"])),
    )


def recorded_prediction(arrays: Arrays, poses: str = "pose_enc_list") -> HeadOutputs:
    """Recorded prediction of the input views.

    Args:
      arrays: recorded arrays.
      poses: name of the pose encodings, which depends on the camera head.

    Returns:
      The prediction.
    """
    return HeadOutputs(
        depth=jnp.asarray(arrays["in.pred.depth"][..., 0]),
        depth_conf=jnp.asarray(arrays["in.pred.depth_conf"]),
        pose_enc=jnp.asarray(arrays[f"in.pred.{poses}"]),
        local_points=jnp.asarray(arrays["in.pred.local_points"]),
    )


def recorded_query(arrays: Arrays) -> tuple[HeadOutputs, QueryTarget]:
    """Recorded prediction and ground truth of the queried views."""
    rendered = HeadOutputs(
        depth=jnp.asarray(arrays["in.pred.nvs_pred"][..., 3]),
        depth_conf=jnp.asarray(arrays["in.pred.nvs_depth_conf"]),
        rgb=jnp.asarray(arrays["in.pred.nvs_pred"][..., :3]),
    )
    truth = QueryTarget(
        images=jnp.asarray(np.moveaxis(arrays["in.nvs_target_images"], 2, -1)),
        depth=jnp.asarray(arrays["in.nvs_target_depths"]),
        mask=jnp.asarray(arrays["in.nvs_target_point_masks"]),
    )
    return rendered, truth


# Compilation takes longer than the computation, so expensive compiler passes are disabled.
@functools.partial(
    jax.jit,
    static_argnames=("config",),
    compiler_options={"xla_backend_optimization_level": 0},
)
def parts_and_gradients(
    predicted: tuple[HeadOutputs, HeadOutputs | None],
    truth: Target,
    query_truth: QueryTarget | None,
    config: LossConfig,
) -> tuple[dict[str, jax.Array], tuple[HeadOutputs, HeadOutputs | None]]:
    """Parts of the objective, and its gradients.

    Args:
      predicted: prediction of the input views and, with queries, of the queried views.
      truth: ground truth of the input views.
      query_truth: ground truth of the queried views; None = no queries.
      config: weights of the losses.

    Returns:
      The parts by name, and the gradients with respect to `predicted`.
    """

    def objective(predicted: tuple[HeadOutputs, HeadOutputs | None]) -> Any:
        rendered = predicted[1]
        queries = None if rendered is None or query_truth is None else (rendered, query_truth)
        return total_loss(predicted[0], truth, config, queries)

    (_, parts), gradients = jax.value_and_grad(objective, has_aux=True)(predicted)
    return parts, gradients


@jax.jit
def own_scale(points: jax.Array, target: Target) -> jax.Array:
    """Scale between predicted points, divided by their unit, and the ground truth.

    Args:
      points: predicted points, [b, v, h, w, 3].
      target: ground truth.

    Returns:
      One scale per sample.
    """
    unit = prediction_unit(points, target.mask)
    return alignment_scale(points / unit[:, None, None, None, None], target)


def run(arrays: Arrays, stage: str) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Computes the parts of the objective of a recorded batch, and its gradients.

    Args:
      arrays: recorded arrays.
      stage: key of `STAGES`.

    Returns:
      The parts by name, and the gradients with the names and layouts of the file.
    """
    poses = "pose_enc_mlp_list" if stage == "online" else "pose_enc_list"
    rendered, query_truth = recorded_query(arrays) if stage == "nvs" else (None, None)
    config = LossConfig(camera_kind=STAGES[stage])
    predicted = (recorded_prediction(arrays, poses), rendered)
    parts, (first, second) = parts_and_gradients(
        predicted, recorded_target(arrays), query_truth, config
    )
    gradients: dict[str, Any] = {
        poses: first.pose_enc,
        "depth": first.depth[..., None],
        "depth_conf": first.depth_conf,
        "local_points": first.local_points,
    }
    if second is not None and second.rgb is not None:
        gradients["nvs_pred"] = jnp.concatenate([second.rgb, second.depth[..., None]], -1)
        gradients["nvs_depth_conf"] = second.depth_conf
    return (
        {name: float(value) for name, value in parts.items()},
        {name: np.asarray(value, np.float64) for name, value in gradients.items()},
    )


def check_losses(arrays: Arrays, meta: Mapping[str, Any]) -> list[TensorComparison]:
    """Compares all terms, scales and gradients of one batch; a `Checker`.

    The perceptual term is left out, because it was recorded with weight 0 and without its network.
    """
    rows = []
    for stage in (s for s in STAGES if any(key.startswith(f"{s}.") for key in arrays)):
        parts, gradients = run(arrays, stage)
        for key in [k for k in arrays if k.startswith(f"{stage}.")]:
            _, kind, name = (*key.split(".", 2), "")[:3]
            if name != "loss_nvs_lpips":
                rows.append(_row(key, kind, name, parts, gradients, arrays))
    return rows


def _row(
    key: str,
    kind: str,
    name: str,
    parts: Mapping[str, float],
    gradients: Mapping[str, np.ndarray],
    arrays: Arrays,
) -> TensorComparison:
    recorded = arrays[key]
    if kind == "loss":
        return compare(key, np.asarray(parts[name]), recorded, TERMS)
    if kind == "gnorm":
        return compare(key, np.asarray(np.linalg.norm(gradients[name])), recorded, NORMS)
    if kind == "grad":
        # Dense gradients are recorded at every second row and column.
        dense = "pose" not in name
        actual = gradients[name][:, :, ::2, ::2] if dense else gradients[name]
        return compare(key, actual, recorded, GRADIENTS)
    if kind == "align_scale":
        points = recorded_prediction(arrays).local_points
        assert points is not None
        scale = own_scale(points, recorded_target(arrays))
        return compare(key, np.asarray(scale), recorded, SCALES)
    raise UserError(f"{key!r} is none of loss, grad, gnorm and align_scale: rename or remove it")
