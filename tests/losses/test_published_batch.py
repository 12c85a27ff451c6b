"""A batch defined by formulas, with the values that the reference computes for it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.losses import LossConfig, QueryTarget, Target, target_from_batch
from zipmap_jax.losses.normalise import alignment_scale, prediction_unit
from zipmap_jax.losses.target import normalise_target
from zipmap_jax.parity.losses import parts_and_gradients
from zipmap_jax.structs import HeadOutputs

B, S, H, W = 2, 3, 28, 42
RTOL = 1e-4  # An independent implementation in JAX reached 4e-5.


def uniform(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """A linear congruential generator, filling in C order."""
    values, state = np.empty(int(np.prod(shape))), seed
    for i in range(values.size):
        state = (1664525 * state + 1013904223) % 2**32
        values[i] = state / 2**32
    return values.reshape(shape).astype(np.float32)


@functools.cache
def batch() -> dict[str, jax.Array]:
    b, s, v, u = np.meshgrid(*(np.arange(n) for n in (B, S, H, W)), indexing="ij")
    valid = ~((u < 6) & (v < 8))
    depth = np.where(valid, 2 + 0.008 * u + 0.004 * v + 0.3 * s + 0.5 * b, 0)
    b, s = b[..., 0, 0], s[..., 0, 0]
    angle = 0.1 * (s + 1) + 0.05 * b
    w2c = np.zeros((B, S, 4, 4))
    w2c[..., 0, 0] = w2c[..., 2, 2] = np.cos(angle)
    w2c[..., 0, 2], w2c[..., 2, 0] = np.sin(angle), -np.sin(angle)
    w2c[..., 1, 1] = w2c[..., 3, 3] = 1
    w2c[..., :3, 3] = np.stack([0.2 * s, -0.1 * s, 0.05 * s + 0.1 * b], -1)
    intrinsics = np.broadcast_to([[40.0, 0, 21], [0, 41, 14], [0, 0, 1]], (B, S, 3, 3))
    arrays = {"depth": depth, "w2c": w2c, "intrinsics": intrinsics}
    arrays = {name: jnp.asarray(value, jnp.float32) for name, value in arrays.items()}
    return {**arrays, "valid": jnp.asarray(valid), "detailed": jnp.asarray([True, False])}


@functools.cache
def prediction() -> HeadOutputs:
    depth = np.asarray(batch()["depth"])
    v, u = np.mgrid[:H, :W]
    points = np.stack([(u - 21) / 40 * depth, (v - 14) / 41 * depth, depth], -1)
    points = 0.6 * points + 0.2 * (uniform(11, (B, S, H, W, 3)) - 0.5)
    points[..., 2] = np.maximum(points[..., 2], 0.05)
    depth = np.maximum(0.6 * depth + 0.2 * (uniform(12, (B, S, H, W)) - 0.5), 0.05)
    poses = np.stack([uniform(20 + i, (B, S, 9)) for i in range(4)]) - 0.5
    poses[..., 6:] += 1
    arrays = (depth, 1 + 3 * uniform(13, (B, S, H, W)), poses, points)
    return HeadOutputs(*(jnp.asarray(a, jnp.float32) for a in arrays))


@functools.cache
def target() -> Target:
    return jax.jit(target_from_batch)(batch())


def test_generator():
    np.testing.assert_allclose(uniform(11, (3,)), [0.240331, 0.276308, 0.351325], atol=1e-6)


def test_target():
    sources = ("w2c", "intrinsics", "depth", "valid", "detailed")
    truth, sigma = jax.jit(normalise_target)(*(batch()[name] for name in sources))
    np.testing.assert_allclose(sigma, [2.641693, 3.167768], rtol=1e-6)
    expected = [
        [0.9800666, 0, 0.1986693, 0.1200003],
        [0, 1, 0, -0.0631359],
        [-0.1986693, 0, 0.9800666, 0.0321972],
        [0, 0, 0, 1],
    ]
    np.testing.assert_allclose(truth.w2c[1, 2], expected, atol=2e-7)
    depth = truth.depth * sigma[:, None, None, None]
    np.testing.assert_allclose(depth, batch()["depth"], rtol=1e-6)
    np.testing.assert_array_equal(truth.detailed, [True, False])


def test_scales():
    points, truth = prediction().local_points, target()
    unit = prediction_unit(points, truth.mask)
    np.testing.assert_allclose(unit, [1.6083901, 1.9276100], rtol=1e-6)
    scale = jax.jit(alignment_scale)(points / unit[:, None, None, None, None], truth)
    np.testing.assert_allclose(scale, [1.0080994, 1.0087637], rtol=1e-6)


def check(parts, **expected):
    for name, value in expected.items():
        assert float(parts[f"loss_{name}"]) == pytest.approx(value, rel=RTOL), name


def norm(x) -> float:
    return float(np.linalg.norm(np.asarray(x, np.float64)))


def test_absolute_cameras():
    config = LossConfig(camera_kind="absolute")
    parts, (gradient, _) = parts_and_gradients((prediction(), None), target(), None, config)
    check(parts, local_pts=0.0305468, local_pts_normal=0.0272543)
    check(parts, conf_depth=-0.0991448, reg_depth=0.0286550, grad_depth=0.0689165)
    check(parts, T=0.0769112, R=0.1282198, FL=0.1760432, camera=0.2931525, objective=1.521991)
    assert norm(gradient.local_points) == pytest.approx(0.00729375, rel=RTOL)
    assert norm(gradient.depth) == pytest.approx(0.0561844, rel=RTOL)
    assert norm(gradient.depth_conf) == pytest.approx(0.000905037, rel=RTOL)
    norms = [norm(g) for g in gradient.pose_enc]
    np.testing.assert_allclose(norms, [0.0768528, 0.1280879, 0.2134799, 0.3557999], rtol=RTOL)


def test_pairwise_cameras():
    config = LossConfig(camera_kind="pairwise")
    parts, (gradient, _) = parts_and_gradients((prediction(), None), target(), None, config)
    check(parts, T=0.0786530, R=0.1350571, FL=0.1760432, camera=0.3017317, objective=1.564886)
    assert norm(gradient.local_points) == pytest.approx(0.00740873, rel=RTOL)
    norms = [norm(g) for g in gradient.pose_enc]
    np.testing.assert_allclose(norms, [0.0864346, 0.2142129, 0.2752040, 0.4950253], rtol=RTOL)


def test_single_iteration():
    last = prediction()
    last = HeadOutputs(last.depth, last.depth_conf, last.pose_enc[3:], last.local_points)
    config = LossConfig(camera_kind="pairwise")
    parts, _ = parts_and_gradients((last, None), target(), None, config)
    check(parts, T=0.1533850, R=0.2471619, FL=0.2633040, camera=0.5321988, objective=2.717222)


def test_queries():
    predicted, truth = prediction(), target()
    rgb = jnp.asarray(uniform(30, (B, S, H, W, 3)))
    rendered = HeadOutputs(depth=predicted.depth, depth_conf=predicted.depth_conf, rgb=rgb)
    images = jnp.asarray(np.moveaxis(uniform(77, (B, S, 3, H, W)), 2, -1))
    query_truth = QueryTarget(images=images, depth=truth.depth, mask=truth.mask)
    config = LossConfig(camera_kind="absolute")
    parts, _ = parts_and_gradients((predicted, rendered), truth, query_truth, config)
    check(parts, nvs_l2=0.1666534, nvs_psnr=7.781858, objective=3.186951)
    check(parts, nvs_conf_depth=-0.0991448, nvs_reg_depth=0.0286550, nvs_grad_depth=0.0689165)
