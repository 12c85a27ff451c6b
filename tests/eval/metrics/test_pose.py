from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.eval.metrics import (
    PairwisePoseMetric,
    TrajectoryMetric,
    area_under_curve,
    pair_errors,
    rotation_error,
    trajectory_errors,
    translation_error,
)
from zipmap_jax.geometry import Similarity, invert_pose, pose_from, quaternion_to_matrix


def trajectory(views: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rotation = quaternion_to_matrix(rng.normal(size=(views, 4)))
    return pose_from(rotation, rng.normal(size=(views, 3)))


def about_z(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize(("threshold", "expected"), [(5, 0.440000), (15, 0.773333), (30, 0.886667)])
def test_area_is_a_staircase(threshold, expected):
    errors = np.array([0.5, 1.0, 4.999, 5.0, 7.0])
    assert area_under_curve(errors, threshold) == pytest.approx(expected, abs=5e-7)
    assert area_under_curve(errors[::-1], threshold) == area_under_curve(errors, threshold)


@pytest.mark.parametrize(
    ("error", "expected"), [(0, 1), (29.5, 1 / 30), (30.0, 1 / 30), (30.01, 0)]
)
def test_area_of_one_error(error, expected):
    assert area_under_curve(np.array([float(error)]), 30) == pytest.approx(expected)


def test_nan_counts_in_the_denominator():
    assert area_under_curve(np.array([0.0, np.nan]), 5) == pytest.approx(0.5)


@pytest.mark.parametrize("angle", [1e-3, 1.0, 90.0, 179.0])
def test_rotation_error(angle):
    base = quaternion_to_matrix(np.array([0.3, -0.1, 0.5, 0.2]))
    assert rotation_error(base @ about_z(angle), base) == pytest.approx(angle, rel=1e-6)


def test_rotation_error_of_equal_rotations_is_the_floor():
    base = trajectory(5)[:, :3, :3]
    np.testing.assert_allclose(rotation_error(base, base), 3.6e-6, rtol=0.02)


def test_translation_error():
    x, y = np.array([1.0, 0, 0]), np.array([0, 2.0, 0])
    # Sign-invariant, down to the floor; long vectors, as 1e-15 is added to lengths.
    assert translation_error(-300 * x, 100 * x) == pytest.approx(1.9e-6, abs=1e-7)
    assert translation_error(y, x) == pytest.approx(90, abs=1e-5)
    assert translation_error(0 * x, x) == pytest.approx(90, abs=1e-5)
    assert translation_error(x + np.array([0, 1.0, 0]), x) == pytest.approx(45)
    assert translation_error(np.array([np.nan, 0, 0]), x) == pytest.approx(np.degrees(1e6))


def test_pair_errors_do_not_depend_on_the_world_frame():
    true = trajectory(10)
    world = trajectory(1, seed=1)[0]
    rotation, translation = pair_errors((true @ world).astype(np.float64), true)
    assert rotation.shape == (45,)
    assert rotation.max() < 1e-5
    assert translation.max() < 1e-5


def test_pooled_pairs():
    exact, wrong = trajectory(4), trajectory(4, seed=2)
    metric = PairwisePoseMetric()
    metric = metric.merge(PairwisePoseMetric.from_poses(exact, exact))
    metric = metric.merge(PairwisePoseMetric.from_poses(wrong, exact))
    values = metric.compute()
    assert len(metric.rotation) == 12
    assert values["RRA@5"] == pytest.approx(50)
    assert 50 <= values["AUC@5"] <= values["AUC@15"] <= values["AUC@30"] < 60
    assert 50 <= values["RTA@5"] < 100
    assert np.isnan(PairwisePoseMetric().compute()["AUC@30"])


def test_unequal_lists():
    with pytest.raises(ValueError, match="3 and 4"):
        pair_errors(trajectory(3), trajectory(4))


def test_trajectory_errors_are_invariant_to_similarity():
    true = trajectory(12)
    move = Similarity(2.5, trajectory(1, 3)[0, :3, :3], np.array([4.0, -1, 2]))
    moved = invert_pose(move.apply_to_poses(invert_pose(true)))
    np.testing.assert_allclose(trajectory_errors(moved, true), 0, atol=1e-6)


def test_trajectory_errors_of_one_bad_angle():
    steps = np.arange(6.0)
    centres = np.stack([steps, np.sin(steps), np.cos(2 * steps)], axis=-1)
    true = np.tile(np.eye(4), (6, 1, 1))
    true[:, :3, 3] = -centres
    turned = true.copy()
    # A camera that rotates in place: its centre is constant, and two steps contain the angle.
    turned[2, :3] = about_z(3.0) @ turned[2, :3]
    ate, _, angle = trajectory_errors(turned, true)
    assert ate == pytest.approx(0, abs=1e-9)
    assert angle == pytest.approx(3 * np.sqrt(2 / 5))


def test_mean_over_sequences_is_unweighted():
    true, noisy = trajectory(8), trajectory(8)
    noisy[:, :3, 3] += 0.1 * np.random.default_rng(4).normal(size=(8, 3))
    one = TrajectoryMetric.from_poses(noisy, true)
    both = one.merge(TrajectoryMetric.from_poses(true[:4], true[:4])).compute()
    assert one.compute()["ATE"] > 0.05
    assert both["ATE"] == pytest.approx(one.compute()["ATE"] / 2)
    assert np.isnan(TrajectoryMetric().compute()["ATE"])


def test_the_larger_of_both_angles_counts_and_a_threshold_itself_is_not_below_it():
    """A pair of 5 degrees is not within 5 degrees, as in the reference."""
    metric = PairwisePoseMetric(np.array([5.0, 4.0, 1.0]), np.array([1.0, 15.0, 30.0]))
    values = metric.compute()
    assert values["RRA@5"] == pytest.approx(100 * 2 / 3)
    assert values["RTA@15"] == pytest.approx(100 / 3)
    assert values["RTA@30"] == pytest.approx(100 * 2 / 3)
    one = PairwisePoseMetric(np.array([2.0]), np.array([20.0])).compute()["AUC@30"]
    other = PairwisePoseMetric(np.array([20.0]), np.array([2.0])).compute()["AUC@30"]
    assert (
        one
        == other
        == pytest.approx(PairwisePoseMetric(np.array([20.0]), np.array([20.0])).compute()["AUC@30"])
    )
