from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.geometry import Similarity, invert_pose, pose_from, quaternion_to_matrix, umeyama


def known(scale: float) -> Similarity:
    rotation = quaternion_to_matrix(np.array([0.3, -0.5, 0.2, 0.7]))
    return Similarity(scale, rotation, np.array([1.0, -2, 0.5]))


@pytest.mark.parametrize("number", [3, 50])
def test_known_similarity_is_found(number):
    points = np.random.default_rng(0).normal(size=(number, 3))
    fitted = umeyama(points, known(2.5).apply(points))
    assert fitted.scale == pytest.approx(2.5)
    np.testing.assert_allclose(fitted.rotation, known(1).rotation, atol=1e-12)
    np.testing.assert_allclose(fitted.translation, known(1).translation, atol=1e-12)


def test_rigid_alignment_keeps_lengths():
    points = np.random.default_rng(0).normal(size=(20, 3))
    assert umeyama(points, known(2.5).apply(points), with_scale=False).scale == 1
    fitted = umeyama(points, known(1.0).apply(points), with_scale=False)
    np.testing.assert_allclose(fitted.apply(points), known(1.0).apply(points), atol=1e-12)


def test_noise_is_averaged_not_reflected():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(400, 3))
    fitted = umeyama(points, known(0.5).apply(points) + 0.01 * rng.normal(size=(400, 3)))
    assert fitted.scale == pytest.approx(0.5, rel=0.01)
    mirrored = umeyama(points, points * np.array([-1, 1, 1]))
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1)


def test_least_squares():
    """Small changes of the result increase the error."""
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(2, 30, 3))
    best = umeyama(source, target)
    error = np.sum((best.apply(source) - target) ** 2)
    for scale in (0.99, 1.01):
        other = Similarity(best.scale * scale, best.rotation, best.translation)
        assert np.sum((other.apply(source) - target) ** 2) > error
    turn = quaternion_to_matrix(np.array([0.01, 0, 0, 1]))
    other = Similarity(best.scale, turn @ best.rotation, best.translation)
    assert np.sum((other.apply(source) - target) ** 2) > error


def test_inverse_and_poses():
    points = np.random.default_rng(3).normal(size=(7, 3))
    move = known(3.0)
    np.testing.assert_allclose(move.inverse().apply(move.apply(points)), points)
    c2w = pose_from(quaternion_to_matrix(np.ones((2, 4))), points[:2])
    moved = move.apply_to_poses(c2w)
    # Points in the camera frame are unchanged up to scale.
    seen = invert_pose(c2w[0])[:3, :3] @ (points[5] - points[0])
    again = invert_pose(moved[0])[:3, :3] @ (move.apply(points[5]) - moved[0, :3, 3])
    np.testing.assert_allclose(again, 3 * seen)


def test_single_point():
    fitted = umeyama(np.ones((1, 3)), 2 * np.ones((1, 3)))
    assert fitted.scale == 1
    np.testing.assert_allclose(fitted.apply(np.ones((1, 3))), 2)


@pytest.mark.wrong_types
def test_mistakes():
    with pytest.raises(ValueError, match="match them"):
        umeyama(np.ones((3, 3)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="finite"):
        umeyama(np.full((3, 3), np.nan), np.ones((3, 3)))
