"""Recorded batches of the reference: inputs as our records, outputs by name."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.geometry import encode_pose, homogeneous
from zipmap_jax.losses import LossConfig, QueryTarget, Target, total_loss
from zipmap_jax.structs import Prediction

GOLDEN = Path(__file__).parent.parent / "golden"
KINDS = {"stage2": "absolute", "stage3": "pairwise", "online": "pairwise", "nvs": "absolute"}


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def target(z: dict[str, np.ndarray]) -> Target:
    height, width = (int(n) for n in z["in.image_hw"])
    w2c, intrinsics = z["in.extrinsics"], z["in.intrinsics"]
    record = Target(
        w2c=homogeneous(w2c),
        intrinsics=intrinsics,
        pose_enc=encode_pose(w2c, intrinsics, (height, width)),
        depth=z["in.depths"],
        cam_points=z["in.cam_points"],
        mask=z["in.point_masks"],
        detailed=z["in.dataset_name"] == "hypersim",
    )
    return jax.tree.map(jnp.asarray, record)


def prediction(z: dict[str, np.ndarray], poses: str = "pose_enc_list") -> Prediction:
    return Prediction(
        depth=jnp.asarray(z["in.pred.depth"][..., 0]),
        depth_conf=jnp.asarray(z["in.pred.depth_conf"]),
        pose_enc=jnp.asarray(z[f"in.pred.{poses}"]),
        local_points=jnp.asarray(z["in.pred.local_points"]),
    )


def query(z: dict[str, np.ndarray]) -> tuple[Prediction, QueryTarget]:
    rendered = Prediction(
        depth=jnp.asarray(z["in.pred.nvs_pred"][..., 3]),
        depth_conf=jnp.asarray(z["in.pred.nvs_depth_conf"]),
        rgb=jnp.asarray(z["in.pred.nvs_pred"][..., :3]),
    )
    truth = QueryTarget(
        images=jnp.asarray(np.moveaxis(z["in.nvs_target_images"], 2, -1)),
        depth=jnp.asarray(z["in.nvs_target_depths"]),
        mask=jnp.asarray(z["in.nvs_target_point_masks"]),
    )
    return rendered, truth


# Compiling takes longer than running: leave out the slow passes.
@functools.partial(
    jax.jit,
    static_argnames=("config",),
    compiler_options={"xla_backend_optimization_level": 0},
)
def parts_and_gradients(predicted, truth, query_truth, config):
    """Parts of the loss, and its gradient by (prediction, rendered prediction or None)."""

    def objective(predicted):
        queries = None if query_truth is None else (predicted[1], query_truth)
        return total_loss(predicted[0], truth, config, queries)

    (_, parts), gradients = jax.value_and_grad(objective, has_aux=True)(predicted)
    return parts, gradients


def run(name: str, stage: str):
    """Parts and gradients of a recorded batch; gradients named and laid out as recorded."""
    z = arrays(name)
    poses = "pose_enc_mlp_list" if stage == "online" else "pose_enc_list"
    rendered, query_truth = query(z) if stage == "nvs" else (None, None)
    config = LossConfig(camera_kind=KINDS[stage])
    predicted = (prediction(z, poses), rendered)
    parts, (first, second) = parts_and_gradients(predicted, target(z), query_truth, config)
    gradients = {
        poses: first.pose_enc,
        "depth": first.depth[..., None],
        "depth_conf": first.depth_conf,
        "local_points": first.local_points,
    }
    if second is not None:
        gradients["nvs_pred"] = jnp.concatenate([second.rgb, second.depth[..., None]], -1)
        gradients["nvs_depth_conf"] = second.depth_conf
    return (
        {name: float(value) for name, value in parts.items()},
        {name: np.asarray(value, np.float64) for name, value in gradients.items()},
    )
