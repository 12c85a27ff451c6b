"""Impossible cameras are replaced, part by part, equally for NumPy and JAX arrays."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from zipmap_jax.geometry import decode_pose
from zipmap_jax.geometry.plausible import MAX_FOV, MIN_FOV, plausible_cameras

SIZE = (40, 60)


def encodings() -> np.ndarray:
    poses = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    poses[:, 7:] = 1.0
    poses[1, 7] = 0
    poses[2, 3:7] = 0
    poses[3, 4] = np.nan
    poses[4, 0] = np.inf
    poses[5, 8] = np.nan
    poses[6, 7] = 3.5  # more than half a turn
    return poses


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_every_part_is_replaced_where_it_is_impossible() -> None:
    w2c, intrinsics = decode_pose(encodings(), SIZE)
    new_w2c, new_intrinsics, replaced = plausible_cameras(w2c, intrinsics, SIZE)
    assert replaced.tolist() == [
        [False, False, False],
        [False, False, True],
        [False, False, False],  # a quaternion of length 0 decodes to the identity
        [False, True, False],
        [True, False, False],
        [False, False, True],
        [False, False, True],
    ]
    np.testing.assert_array_equal(new_w2c[[0, 1, 2, 5]], w2c[[0, 1, 2, 5]])
    np.testing.assert_array_equal(new_intrinsics[[0, 2, 3, 4]], intrinsics[[0, 2, 3, 4]])
    np.testing.assert_array_equal(new_w2c[3, :3, :3], np.eye(3))
    np.testing.assert_array_equal(new_w2c[3, :3, 3], w2c[3, :3, 3])
    np.testing.assert_array_equal(new_w2c[4, :3, 3], 0)
    fov = [2 * np.arctan(SIZE[0] / 2 / new_intrinsics[i, 1, 1]) for i in (1, 6)]
    np.testing.assert_allclose(fov, [MIN_FOV, MAX_FOV], rtol=1e-4)
    np.testing.assert_allclose(2 * np.arctan(SIZE[1] / 2 / new_intrinsics[5, 0, 0]), MIN_FOV, 1e-4)
    again = plausible_cameras(new_w2c, new_intrinsics, SIZE)
    assert not again[2].any()


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_jax_and_numpy_agree() -> None:
    cameras = decode_pose(encodings(), SIZE)
    compiled = jax.jit(plausible_cameras, static_argnums=2)(*cameras, SIZE)
    for a, b in zip(compiled, plausible_cameras(*cameras, SIZE), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    "matrix",
    [np.diag([2, 0.5, 1]), np.array([[1, 0.3, 0], [0, 1, 0], [0, 0, 1]]), np.diag([1, 1, -1])],
    ids=["stretched", "sheared", "mirrored"],
)
def test_a_matrix_that_is_no_rotation_becomes_the_identity(matrix: np.ndarray) -> None:
    w2c, intrinsics = decode_pose(encodings()[:1], SIZE)
    w2c[0, :3, :3] = matrix
    new, _, replaced = plausible_cameras(w2c, intrinsics, SIZE)
    assert replaced[0].tolist() == [False, True, False]
    np.testing.assert_array_equal(new[0, :3, :3], np.eye(3))
