"""Quirks of the reference and their replacements; both are finite on degenerate batches."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.losses import recorded
from zipmap_jax.geometry import quaternion_to_matrix
from zipmap_jax.losses import LossConfig, QueryTarget, Target
from zipmap_jax.losses.camera import clipped_angle, pairwise_pose_loss, rotation_angle
from zipmap_jax.losses.normalise import prediction_unit
from zipmap_jax.losses.points import depth_edges, normal_loss
from zipmap_jax.losses.total import term_weights
from zipmap_jax.parity.losses import (
    parts_and_gradients,
    recorded_prediction,
    recorded_query,
    recorded_target,
)
from zipmap_jax.structs import HeadOutputs

PUBLISHED = LossConfig(camera_kind="pairwise")
SANE = dataclasses.replace(PUBLISHED, parity=False)
BOTH = pytest.mark.parametrize("config", [PUBLISHED, SANE], ids=["published", "sane"])

# Compiling takes longer than running.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@dataclasses.dataclass(frozen=True)
class Batch:
    prediction: HeadOutputs
    target: Target
    rendered: HeadOutputs
    truth: QueryTarget


@functools.cache
def plain() -> Batch:
    z = recorded.arrays("loss_plain")
    return Batch(recorded_prediction(z), recorded_target(z), *recorded_query(z))


def masked(batch: Batch, mask: jax.Array) -> Batch:
    return dataclasses.replace(batch, target=dataclasses.replace(batch.target, mask=mask))


def with_quaternions(batch: Batch, value: float) -> Batch:
    poses = plain().prediction.pose_enc
    assert poses is not None
    changed = dataclasses.replace(batch.prediction, pose_enc=poses.at[..., 3:7].set(value))
    return dataclasses.replace(batch, prediction=changed)


def perfect(batch: Batch) -> Batch:
    """Points, depth and poses of the ground truth."""
    target = batch.target
    prediction = dataclasses.replace(
        batch.prediction,
        depth=target.depth,
        local_points=target.cam_points,
        pose_enc=jnp.broadcast_to(target.pose_enc[None], (4, *target.pose_enc.shape)),
    )
    return dataclasses.replace(batch, prediction=prediction)


def evaluate(batch: Batch, config: LossConfig) -> tuple[dict[str, float], list[np.ndarray]]:
    """Parts by name, and all gradients."""
    predicted = (batch.prediction, batch.rendered)
    parts, gradients = parts_and_gradients(predicted, batch.target, batch.truth, config)
    return {k: float(v) for k, v in parts.items()}, [
        np.asarray(g) for g in jax.tree.leaves(gradients)
    ]


# Degenerate batches ------------------------------------------------------------------------------


def zero_points(batch: Batch) -> Batch:
    points = jnp.zeros_like(batch.target.cam_points)
    changed = dataclasses.replace(batch.prediction, local_points=points)
    return dataclasses.replace(batch, prediction=changed)


DEGENERATE: dict[str, Callable[[Batch], Batch]] = {
    "no valid pixel": lambda b: masked(b, jnp.zeros_like(b.target.mask)),
    "one view invalid": lambda b: masked(b, b.target.mask.at[:, 1].set(False)),
    "first view invalid": lambda b: masked(b, b.target.mask.at[:, 0].set(False)),
    "one scene invalid": lambda b: masked(b, b.target.mask.at[1].set(False)),
    "quaternions of length 0": lambda b: with_quaternions(b, 0.0),
    "quaternions whose square is 0": lambda b: with_quaternions(b, 1e-25),
    "quaternions whose square is not normal": lambda b: with_quaternions(b, 1e-20),
    "points at the camera": zero_points,
    "perfect": perfect,
}


@BOTH
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_batches_have_finite_terms_and_gradients(case: str, config: LossConfig) -> None:
    parts, gradients = evaluate(DEGENERATE[case](plain()), config)
    assert all(np.isfinite(value) for value in parts.values()), parts
    assert all(np.isfinite(gradient).all() for gradient in gradients)


# Names -------------------------------------------------------------------------------------------


@BOTH
def test_contributions_sum_to_the_objective(config: LossConfig) -> None:
    parts, _ = evaluate(plain(), config)
    raw = {k.removeprefix("raw/"): v for k, v in parts.items() if k.startswith("raw/")}
    weighted = {k.removeprefix("weighted/"): v for k, v in parts.items() if k[:3] == "wei"}
    assert sum(weighted.values()) == pytest.approx(parts["loss_objective"], rel=1e-5)
    weights = term_weights(config)
    not_here = {"nvs_lpips", "matching", "rays", "views"}
    assert raw.keys() == weighted.keys() == weights.keys() - not_here
    for name, value in raw.items():
        assert weighted[name] == pytest.approx(weights[name] * value, rel=1e-6), name
        factor = {"T": 10.0, "R": 0.2}.get(name, 1.0)  # the reference's log has them weighted
        assert parts[f"loss_{name}"] == pytest.approx(factor * value, rel=1e-6), name
    camera = 10 * raw["T"] + 0.2 * raw["R"] + 0.5 * raw["FL"]
    assert parts["loss_camera"] == pytest.approx(camera, rel=1e-5)


# Far pixels --------------------------------------------------------------------------------------


def test_far_pixels_are_bent_or_excluded() -> None:
    batch = plain()
    target = batch.target
    far = jnp.zeros(target.mask.shape, bool).at[:, :, 5:10, 5:10].set(True)
    scale = jnp.where(far, 500.0, 1.0)
    target = dataclasses.replace(
        target, depth=target.depth * scale, cam_points=target.cam_points * scale[..., None]
    )
    batch = perfect(dataclasses.replace(batch, target=target))
    published, _ = evaluate(batch, PUBLISHED)
    sane, _ = evaluate(batch, SANE)
    # 2 % of the pixels, off by 400 in one coordinate of three, weighted by 1/100.
    assert published["raw/local_pts"] > 0.01
    assert sane["raw/local_pts"] < 1e-5
    assert sane["raw/reg_depth"] < 1e-5
    assert sane["raw/grad_depth"] < 1e-5


# Samples without a scale -------------------------------------------------------------------------


def test_unit_without_valid_pixels() -> None:
    points, mask = jnp.ones((2, 1, 4, 4, 3)), jnp.zeros((2, 1, 4, 4), bool).at[1].set(True)
    expected = jnp.sqrt(3.0)
    np.testing.assert_allclose(quick(prediction_unit)(points, mask), [1e-6, expected], rtol=1e-6)
    sane = quick(functools.partial(prediction_unit, parity=False))(points, mask)
    np.testing.assert_allclose(sane, [1.0, expected], rtol=1e-6)


def test_renderings_of_scenes_without_a_scale() -> None:
    batch = DEGENERATE["no valid pixel"](plain())
    published, _ = evaluate(batch, PUBLISHED)
    sane, _ = evaluate(batch, SANE)
    assert published["raw/nvs_reg_depth"] > 10  # everything is divided by 1e-6
    assert sane["raw/nvs_reg_depth"] == 0
    assert sane["raw/nvs_l2"] == published["raw/nvs_l2"] > 0


# Cameras -----------------------------------------------------------------------------------------


def test_cameras_of_a_scene_whose_first_view_has_no_depth() -> None:
    batch = DEGENERATE["first view invalid"](plain())
    published, _ = evaluate(batch, PUBLISHED)
    sane, _ = evaluate(batch, SANE)
    assert published["raw/T"] == published["raw/R"] == published["raw/FL"] == 0
    assert min(sane["raw/T"], sane["raw/R"], sane["raw/FL"]) > 0


@pytest.mark.parametrize("angle", [0.0, 1e-4, 1e-3, 0.1, 1.5, 3.0, np.pi])
def test_angles(angle: float) -> None:
    axis = np.array([1.0, -2.0, 2.0]) / 3
    turn = quaternion_to_matrix(np.array([*np.sin(angle / 2) * axis, np.cos(angle / 2)]))
    start = quaternion_to_matrix(np.array([0.3, -0.2, 0.1, 0.5]))
    a, b = (jnp.asarray(x, jnp.float32) for x in (start, start @ turn))
    assert float(rotation_angle(a, b)) == pytest.approx(angle, abs=3e-7)
    # arccos does not resolve angles below 1.4e-3 or as close to a half turn.
    assert float(clipped_angle(a, b)) == pytest.approx(min(max(angle, 1.414e-3), np.pi), abs=2e-3)


def test_angle_is_steep_down_to_zero() -> None:
    def loss(x: jax.Array, parity: bool) -> jax.Array:
        truth = jnp.zeros((1, 2, 9)).at[..., 6].set(1.0)
        poses = truth.at[0, 1, 3].set(x)[None]
        return pairwise_pose_loss(poses, truth, jnp.ones(1, bool), parity=parity)[1]

    gradient = quick(jax.value_and_grad(loss), static_argnames="parity")
    for x, slope in ((2e-4, 2.0), (0.0, 0.0)):
        value, derivative = gradient(x, parity=False)
        assert float(value) == pytest.approx(2 * x, abs=1e-7)
        assert float(derivative) == pytest.approx(slope, rel=1e-3)
    value, derivative = gradient(2e-4, parity=True)
    assert float(value) == pytest.approx(1.4142e-3, rel=0.02)
    assert derivative == 0


def test_short_quaternions_have_bounded_gradients() -> None:
    gradient = jax.jacobian(functools.partial(quaternion_to_matrix, min_square=1e-12))
    for length in (0.0, 1e-25, 1e-20, 1e-9, 0.9e-6, 1.1e-6, 1.0):
        grad = gradient(length * jnp.asarray([0.5, 0.5, -0.5, 0.5]))
        assert bool(jnp.isfinite(grad).all()), length
        assert float(jnp.abs(grad).max()) < 1e7


# Normals -----------------------------------------------------------------------------------------


def flat_target(height: int, width: int) -> Target:
    """A wall at distance 1, in one view, with a hole."""
    z = np.ones((1, 1, height, width), np.float32)
    z[..., 4, 4] = 0
    v, u = np.mgrid[:height, :width].astype(np.float32)
    points = np.stack([u / 40 * z, v / 40 * z, z], -1)
    arrays = (np.eye(4)[None, None], np.eye(3)[None, None], np.zeros((1, 1, 9)))
    record = Target(*arrays, z, points, z > 0, np.ones(1, bool))
    return jax.tree.map(jnp.asarray, record)


def tilted(points: jax.Array, degrees: float) -> jax.Array:
    """The wall rotated about the y axis, so that every normal has an error of `angle`."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y, z = (points[..., i] for i in range(3))
    return jnp.stack([c * x + s * z, y, c * z - s * x], -1)


@pytest.mark.parametrize("size", [(12, 16), (24, 32)])
def test_normals_weigh_the_same_at_every_size(size: tuple[int, int]) -> None:
    target = flat_target(*size)
    loss = quick(functools.partial(normal_loss, parity=False))
    angle, beta = np.radians(10.0), np.radians(3.0)
    expected = 0.1 * (angle - beta / 2)
    assert float(loss(tilted(target.cam_points, 10.0), target)) == pytest.approx(expected, rel=1e-3)
    published = float(quick(normal_loss)(tilted(target.cam_points, 10.0), target))
    assert published < 4 * (angle - beta / 2) / (4 * size[1])


def test_a_hole_is_an_edge_or_is_not() -> None:
    target = flat_target(12, 16)
    edges = np.asarray(depth_edges(target.depth))[0, 0]
    assert edges.sum() == 9
    assert edges[3:6, 3:6].all()
    edges = np.asarray(depth_edges(target.depth, target.mask))[0, 0]
    assert edges.sum() == 1
    assert edges[4, 4]
