from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.geometry import matrix_to_quaternion, nearest_rotation, quaternion_to_matrix

GOLDEN = Path(__file__).parent.parent / "golden"


def unit_quaternions(number: int, seed: int = 0) -> np.ndarray:
    q = np.random.default_rng(seed).normal(size=(number, 4))
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[:, 3:] < 0, -q, q)


def test_known_quaternion():
    matrix = quaternion_to_matrix(np.array([0.1, -0.2, 0.3, 0.8]))
    expected = [
        [0.6666667, -0.6666666, -0.3333333],
        [0.5641025, 0.7435898, -0.3589743],
        [0.4871795, 0.0512821, 0.8717949],
    ]
    np.testing.assert_allclose(matrix, expected, atol=2e-6)
    back = matrix_to_quaternion(matrix)
    np.testing.assert_allclose(back, [0.1132277, -0.2264554, 0.3396831, 0.9058216], atol=2e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_round_trip(dtype, shape):
    q = unit_quaternions(int(np.prod(shape))).astype(dtype).reshape(*shape, 4)
    back = matrix_to_quaternion(quaternion_to_matrix(q))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, q, atol=20 * np.finfo(dtype).eps)


def test_every_candidate_is_right():
    """Half turns: w is 0, so one of the other components must lead."""
    q = np.concatenate([np.eye(4), [[0.8, 0.6, 0, 0], [0, 0.6, 0.8, 0], [0.6, 0, 0.8, 1e-9]]])
    matrix = quaternion_to_matrix(q)
    np.testing.assert_allclose(
        quaternion_to_matrix(matrix_to_quaternion(matrix)), matrix, atol=1e-8
    )


def test_matrices_are_rotations():
    matrix = quaternion_to_matrix(7 * unit_quaternions(20))
    np.testing.assert_allclose(
        matrix @ matrix.swapaxes(-1, -2), np.tile(np.eye(3), (20, 1, 1)), atol=1e-14
    )
    np.testing.assert_allclose(np.linalg.det(matrix), 1)


def test_zero_quaternion_is_harmless():
    np.testing.assert_array_equal(quaternion_to_matrix(np.zeros(4)), np.eye(3))
    gradient = jax.jit(jax.grad(lambda q: jnp.sum(quaternion_to_matrix(q))))(jnp.zeros(4))
    assert bool(jnp.isfinite(gradient).all())


def test_gradient_at_the_identity():
    gradient = jax.jit(jax.grad(lambda m: jnp.sum(matrix_to_quaternion(m))))(jnp.eye(3))
    assert bool(jnp.isfinite(gradient).all())


def test_recorded_projection():
    with np.load(GOLDEN / "unit_head_act.npz") as z:
        matrix, expected = z["in.svd"].reshape(-1, 3, 3), z["out.svd_orthogonalize"]
    for ours in (matrix, jnp.asarray(matrix)):
        rotation = nearest_rotation(ours, normalise_rows=True)
        # 1e-4: rotations of nearly singular matrices amplify rounding.
        np.testing.assert_allclose(rotation, expected, atol=1e-4)


def test_projection_keeps_rotations_and_never_reflects():
    rotation = quaternion_to_matrix(unit_quaternions(6))
    np.testing.assert_allclose(nearest_rotation(3 * rotation), rotation, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(nearest_rotation(-rotation)), 1)
