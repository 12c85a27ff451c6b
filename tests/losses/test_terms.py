"""Worked examples and invariances of the single terms."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.losses import recorded
from zipmap_jax.geometry import encode_pose, pose_from, quaternion_to_matrix
from zipmap_jax.losses import LossConfig, target_from_batch, total_loss
from zipmap_jax.losses.camera import absolute_pose_loss, over_iterations, pairwise_pose_loss
from zipmap_jax.losses.depth import depth_loss, gradient_loss
from zipmap_jax.losses.normalise import (
    _weighted_median_scale,
    alignment_scale,
    point_weights,
    prediction_unit,
)
from zipmap_jax.losses.points import depth_edges, normal_loss
from zipmap_jax.losses.target import normalise_target
from zipmap_jax.parity.losses import parts_and_gradients, recorded_prediction, recorded_target
from zipmap_jax.structs import HeadOutputs

# Compiling takes longer than running, and running operation by operation compiles each.
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@quick
def fitted_scale(points: jax.Array, truth: jax.Array, mask: jax.Array) -> jax.Array:
    weights = jnp.ones(mask.shape)
    return _weighted_median_scale(points, truth, weights, mask, 24)


def scale_of(x: list[float], y: list[float], valid: bool = True) -> float:
    """Weighted median of lists of scalars, padded to points whose other coordinates weigh 0."""
    points, truth = np.zeros((len(x), 3), np.float32), np.zeros((len(x), 3), np.float32)
    points[:, 0], truth[:, 0] = x, y
    mask = jnp.full(len(x), valid)
    return float(fitted_scale(jnp.asarray(points), jnp.asarray(truth), mask))


def test_weighted_median():
    assert scale_of([1, -2, 4], [2, -2, 2]) == 0.5
    assert scale_of([1, 2, 4, 1], [2, 4, 4, 3]) == 1.0
    assert scale_of([1, -2, 4], [2, -2, 2], valid=False) == 1.0


def test_point_weights():
    z = jnp.asarray([1.0, 2, 50, 0]).reshape(1, 1, 2, 2)
    weights = quick(point_weights)(z, z > 0).reshape(-1)
    np.testing.assert_allclose(weights[:3], [0.5660, 0.5, 0.02], rtol=1e-3)


def test_gradient_loss_of_one_pair():
    difference = jnp.asarray([0.1, 0.4]).reshape(1, 1, 1, 2)
    assert quick(gradient_loss)(difference, difference > 0) == pytest.approx(0.0375)


def test_confidence_term():
    ones = jnp.ones((1, 1, 2, 2))
    conf, reg, grad = quick(depth_loss)(1.2 * ones, 1.5 * ones, ones, ones > 0)
    assert conf == pytest.approx(0.3 - 0.2 * np.log(1.5), rel=1e-5)
    assert reg == pytest.approx(0.2, rel=1e-5)
    assert grad == 0


def test_masked_pixels_have_no_part_in_the_depth_terms():
    """Neither as pixels nor as neighbours, in values nor in gradients."""
    rng = np.random.default_rng(0)
    depth, confidence, truth = jnp.asarray(rng.uniform(1, 3, (3, 1, 2, 6, 8)), jnp.float32)
    mask = jnp.ones(depth.shape, bool).at[0, 0, 2, 3].set(False).at[0, 1, :, 7].set(False)

    def stacked(depth, confidence, truth, mask):
        # No value is left out by a quantile.
        return jnp.stack(depth_loss(depth, confidence + 1, truth, mask, quantile=1.0))

    terms = quick(stacked)
    clean = terms(depth, confidence, truth, mask)
    for value in (1e4, np.nan):
        garbage = [jnp.where(mask, x, value) for x in (depth, confidence, truth)]
        np.testing.assert_allclose(terms(*garbage, mask), clean, rtol=1e-6)
    assert (np.abs(terms(depth, confidence, truth, mask.at[:].set(True)) - clean) > 1e-4).all()
    slopes = quick(jax.jacrev(stacked))(*garbage, mask)
    assert (np.abs(slopes)[:, ~np.asarray(mask)] == 0).all()
    error = np.where(mask, depth - truth, np.nan)
    np.testing.assert_allclose(clean[1], np.nanmean(np.abs(error)), rtol=1e-5)
    coarse = [error[..., ::stride, ::stride] for stride in (1, 2, 4, 8)]
    pairs = [np.nansum(np.abs(np.diff(e))) + np.nansum(np.abs(np.diff(e, axis=-2))) for e in coarse]
    counts = [np.isfinite(e).sum() for e in coarse]
    np.testing.assert_allclose(clean[2], np.mean(np.divide(pairs, counts)), rtol=1e-5)


def test_iteration_weights():
    assert over_iterations(jnp.ones(4)) == pytest.approx(0.544)
    assert over_iterations(jnp.ones(1)) == 1


INTRINSICS = np.tile(np.diag([30.0, 40, 1]), (1, 4, 1, 1))


@functools.cache
def cameras() -> tuple[np.ndarray, jax.Array]:
    """Poses of one scene of four views, and their encodings."""
    rng = np.random.default_rng(0)
    rotation = quaternion_to_matrix(rng.normal(size=(1, 4, 4)))
    w2c = pose_from(rotation, rng.normal(size=(1, 4, 3)))
    return w2c, jnp.asarray(encode_pose(w2c, INTRINSICS, (28, 42)), jnp.float32)


def test_pairwise_loss_ignores_the_world_frame():
    w2c, truth = cameras()
    world = pose_from(quaternion_to_matrix(np.array([0.1, 0.7, -0.2, 0.4])), np.ones(3))
    enc = encode_pose(w2c @ world, INTRINSICS, (28, 42))
    enc[..., 3:7] *= -2.0  # sign and length of quaternions do not matter either
    enc = jnp.asarray(enc, jnp.float32)
    valid = jnp.ones(1, bool)
    translation, rotation, fov = quick(pairwise_pose_loss)(enc[None], truth, valid)
    assert translation < 1e-10
    # The floor: arccos is clipped at 1 - 1e-6.
    assert rotation == pytest.approx(1.4142e-3, rel=0.02)
    assert fov == 0
    assert quick(absolute_pose_loss)(enc[None], truth, valid)[1] > 0.1


@pytest.mark.parametrize(("error", "expected"), [(0.05, 0.00125), (0.3, 0.025)])
def test_huber_of_translations(error, expected):
    truth = jnp.zeros((1, 2, 9)).at[..., 6:].set(1.0)
    enc = truth.at[0, 1, :3].add(error)
    translation, _, _ = quick(pairwise_pose_loss)(enc[None], truth, jnp.ones(1, bool))
    assert translation == pytest.approx(expected, rel=1e-5)


def test_pairwise_loss_of_a_zero_quaternion_has_finite_gradients():
    _, truth = cameras()
    enc = jnp.zeros((1, *truth.shape))
    loss = lambda enc: sum(pairwise_pose_loss(enc, truth, jnp.ones(1, bool)))  # noqa: E731
    assert bool(jnp.isfinite(quick(jax.grad(loss))(enc)).all())


def test_sigma():
    """Distances 1 and 3 give 4 / 2.001; the third pixel is not valid."""
    depth = jnp.asarray([1.0, 3.0, 9.0]).reshape(1, 1, 1, 3)
    intrinsics = jnp.asarray([[1e6, 0, 1], [0, 1e6, 0], [0, 0, 1]])[None, None]
    mask = jnp.asarray([True, True, False]).reshape(1, 1, 1, 3)
    _, sigma = quick(normalise_target)(jnp.eye(4)[None, None], intrinsics, depth, mask)
    assert float(sigma[0]) == pytest.approx(4 / 2.001, rel=1e-6)


def test_target_of_bad_depth_is_finite():
    depth = jnp.full((2, 2, 4, 6), jnp.nan).at[0].set(2.0)
    batch = {
        "depth": depth,
        "valid": jnp.ones(depth.shape, bool).at[1].set(False),
        "w2c": jnp.tile(jnp.eye(4), (2, 2, 1, 1)),
        "intrinsics": jnp.tile(jnp.eye(3), (2, 2, 1, 1)),
    }
    target = quick(target_from_batch)(batch)
    for name in ("w2c", "depth", "cam_points", "pose_enc"):
        assert bool(jnp.isfinite(getattr(target, name)).all()), name
    assert bool(target.detailed.all())
    assert not bool(target.valid.any())  # 24 pixels a view are too few


def test_recorded_normalisation():
    z = recorded.arrays("unit_geometry")
    points, mask = z["in.norm.cam_points"], z["in.norm.mask"]
    # Cameras and depth of the same recording.
    w2c, intrinsics = z["in.unproject.extrinsics"], z["in.unproject.intrinsics"]
    target, sigma = quick(normalise_target)(
        *map(jnp.asarray, (w2c, intrinsics, points[..., 2], mask))
    )
    inside = mask[..., None]
    for ours, theirs in (
        (target.w2c[..., :3, :], z["out.norm.extrinsics"]),
        (np.where(inside, target.cam_points, 0), np.where(inside, z["out.norm.cam_points"], 0)),
        (np.where(mask, target.depth, 0), np.where(mask, z["out.norm.depths"], 0)),
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())
    assert sigma.shape == (2,)


def test_edges():
    z = jnp.ones((1, 1, 5, 7)).at[..., 4:].set(1.05).at[..., 0, 0].set(0.0)
    edges = np.asarray(quick(depth_edges)(z)[0, 0])
    assert edges[2:].any(axis=0).tolist() == [False, False, False, True, True, False, False]
    assert edges[:2, :2].all()  # a hole is an edge all around


def test_normals_at_edges_do_not_count():
    """Wrong points next to a jump in depth change nothing, others do."""
    rows, columns = np.mgrid[:16, :20].astype(np.float32)
    z = np.where(columns < 10, 1.0, 2.0) + 0.001 * rows
    points = jnp.asarray(np.stack([columns * z / 20, rows * z / 20, z], -1))[None, None]
    target = dataclasses.replace(
        recorded_target(recorded.arrays("loss_plain")),
        cam_points=points,
        mask=jnp.ones((1, 1, 16, 20), bool),
        detailed=jnp.ones(1, bool),
    )
    loss = quick(normal_loss)
    right = loss(points, target)
    assert loss(points.at[0, 0, :, 9:11, 2].add(0.3), target) == pytest.approx(
        float(right), rel=1e-6
    )
    assert loss(points.at[0, 0, 8, 4, 2].add(0.3), target) > 1.2 * right


def test_gradients_flow_through_the_unit_and_not_through_the_alignment():
    rng = np.random.default_rng(0)
    points = jnp.asarray(rng.normal((0, 0, 4), 1, (1, 2, 14, 14, 3)), jnp.float32)
    mask = jnp.asarray(rng.random(points.shape[:-1]) < 0.8)
    slope = quick(jax.grad(lambda p: prediction_unit(p, mask)[0]))(points)
    lengths = jnp.linalg.norm(points, axis=-1, keepdims=True)
    expected = jnp.where(mask[..., None], points / lengths, 0) / mask.sum()
    np.testing.assert_allclose(slope, expected, atol=1e-7)
    target = dataclasses.replace(
        recorded_target(recorded.arrays("loss_plain")), cam_points=1.5 * points, mask=mask
    )
    aligned = jax.value_and_grad(lambda p: alignment_scale(p, target, 64)[0])
    scale, slope = quick(aligned)(points)
    assert float(scale) == pytest.approx(1.5, rel=1e-5)
    np.testing.assert_array_equal(slope, 0)


def test_normals_of_equal_points():
    """Every angle is raised to one degree, the lower end of the clip."""
    target = recorded_target(recorded.arrays("loss_plain"))
    all_detailed = dataclasses.replace(target, detailed=jnp.ones(2, bool))
    loss = quick(normal_loss)(target.cam_points, all_detailed)
    theta, beta = np.radians(1.0), np.radians(3.0)
    at_most = 4 * theta**2 / (2 * beta) / (4 * 42)
    assert 0 < loss <= at_most * (1 + 1e-5)


def test_objective_does_not_depend_on_the_unit_of_the_prediction():
    z = recorded.arrays("loss_plain")
    predicted, target = recorded_prediction(z), recorded_target(z)
    scaled = HeadOutputs(
        depth=7 * predicted.depth,
        depth_conf=predicted.depth_conf,
        pose_enc=predicted.pose_enc.at[..., :3].multiply(7.0),
        local_points=7 * predicted.local_points,
    )
    config = LossConfig(camera_kind="absolute")
    loss, _ = parts_and_gradients((predicted, None), target, None, config)
    again, _ = parts_and_gradients((scaled, None), target, None, config)
    assert float(again["loss_objective"]) == pytest.approx(float(loss["loss_objective"]), rel=1e-5)


def test_mistakes():
    z = recorded.arrays("loss_plain")
    predicted, target = recorded_prediction(z), recorded_target(z)
    with pytest.raises(ValueError, match="local points"):
        total_loss(dataclasses.replace(predicted, local_points=None), target, LossConfig())
    with pytest.raises(ValueError, match="relative"):
        LossConfig(camera_kind="relative")  # pyright: ignore
    with pytest.raises(ValueError, match=r"1\.5"):
        LossConfig(quantile=1.5)
