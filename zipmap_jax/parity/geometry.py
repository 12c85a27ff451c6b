"""Comparison of cameras, points and rays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.geometry import (
    decode_pose,
    encode_pose,
    invert_pose,
    quaternion_to_matrix,
    query_frame,
    ray_conditions,
    unproject_to_world,
)
from zipmap_jax.losses import normalise_target
from zipmap_jax.parity.report import TensorComparison, Tolerance, compare

Arrays = Mapping[str, np.ndarray]
Named = Iterator[tuple[str, Any]]

EXACT = Tolerance(1e-5)
RAYS = ("default_plucker", "custom_plucker", "aug_plucker", "plucker_and_common_origin")


def check_geometry(arrays: Arrays, meta: Mapping[str, Any]) -> list[TensorComparison]:
    """Compares all recorded arrays, of which normalised points only where valid; a `Checker`."""
    size = (meta["config"]["image_size"][0], meta["config"]["image_size"][1])
    ray_size = (meta["config"]["ray_size"][0], meta["config"]["ray_size"][1])
    ours = dict(_poses(arrays, size))
    ours |= dict(_points(arrays))
    ours |= dict(_normalised(arrays))
    ours |= dict(_queries(arrays))
    ours |= dict(_rays(arrays, ray_size))
    rows = []
    for key in (k for k in arrays if k.startswith("out.")):
        name, recorded = key.removeprefix("out."), arrays[key]
        if name in ("norm.cam_points", "norm.world_points", "norm.depths"):
            mask = arrays["in.norm.mask"]
            recorded = np.where(mask if recorded.ndim == 4 else mask[..., None], recorded, 0)
        rows.append(compare(key, np.asarray(ours[name]), recorded, EXACT))
    return rows


def _poses(arrays: Arrays, size: tuple[int, int]) -> Named:
    encoded = encode_pose(arrays["in.extrinsics"], arrays["in.intrinsics"], size)
    yield "pose_enc", encoded
    # The second encoding of the reference represents the rotation by nine numbers.
    rotation = quaternion_to_matrix(encoded[..., 3:7])
    nine = rotation.reshape(*rotation.shape[:-2], 9)
    yield "pose_enc_svd", np.concatenate([encoded[..., :3], nine, encoded[..., 7:]], -1)
    for prefix, encoding in (("roundtrip_", arrays["out.pose_enc"]), ("", arrays["in.pose_enc"])):
        w2c, intrinsics = decode_pose(encoding, size)
        yield f"{prefix}extrinsics", w2c[..., :3, :]
        yield f"{prefix}intrinsics", intrinsics


def _points(arrays: Arrays) -> Named:
    pose = arrays["in.unproject.extrinsics"]
    depth, intrinsics = arrays["in.unproject.depth"], arrays["in.unproject.intrinsics"]
    yield "unproject.w2c", unproject_to_world(depth, intrinsics, pose)
    yield "unproject.c2w", unproject_to_world(depth, intrinsics, invert_pose(pose))
    yield "inverse_se3", invert_pose(pose.reshape(-1, 3, 4))


def _normalised(arrays: Arrays) -> Named:
    """Normalised targets, with the cameras of the unprojection."""
    mask, points = arrays["in.norm.mask"], arrays["in.norm.cam_points"]
    cameras = (arrays[f"in.unproject.{name}"] for name in ("extrinsics", "intrinsics"))
    target, _ = jax.jit(normalise_target)(*map(jnp.asarray, (*cameras, points[..., 2], mask)))
    world = unproject_to_world(target.depth, target.intrinsics, target.w2c)
    yield "norm.extrinsics", target.w2c[..., :3, :]
    yield "norm.extrinsics_c2w", invert_pose(target.w2c)[..., :3, :]
    yield "norm.cam_points", target.cam_points
    yield "norm.world_points", np.where(mask[..., None], world, 0)
    yield "norm.depths", target.depth


def _queries(arrays: Arrays) -> Named:
    w2c = invert_pose(arrays["out.norm.extrinsics_c2w"])
    inputs, targets = (
        np.take_along_axis(w2c, arrays[f"in.query.{name}_idx"][..., None, None], axis=1)
        for name in ("input", "target")
    )
    new_inputs, new_targets, scale = query_frame(inputs, targets)
    yield "query.input_c2w", invert_pose(new_inputs)[..., :3, :]
    yield "query.target_c2w", invert_pose(new_targets)[..., :3, :]
    yield "query.scale", scale
    yield "query.all_c2w", invert_pose(query_frame(w2c, w2c)[0])[..., :3, :]


def _rays(arrays: Arrays, size: tuple[int, int]) -> Named:
    w2c, intrinsics = invert_pose(arrays["in.rays.c2w"]), arrays["in.rays.intrinsics"]
    for kind in RAYS:
        yield f"rays.{kind}", _channels_first(ray_conditions(w2c, intrinsics, size, kind))
    for name in (k.removeprefix("out.") for k in arrays if k.startswith("out.rays.resized_")):
        height, width = map(int, name.removeprefix("rays.resized_").split("x"))
        rays = ray_conditions(w2c, intrinsics, (height, width), intrinsics_size=size)
        yield name, _channels_first(rays)


def _channels_first(rays: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(rays), -1, 2)
