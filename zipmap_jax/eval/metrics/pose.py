"""Pose metrics: angular errors of pairs of views, and trajectory errors after alignment."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.geometry import (
    homogeneous,
    invert_pose,
    matrix_to_quaternion,
    relative_pose,
    umeyama,
)

if TYPE_CHECKING:
    from jaxtyping import Float

THRESHOLDS = (5, 15, 30)
_FLOOR = 1e-15


def rotation_error(
    predicted: Float[np.ndarray, "*n 3 3"], true: Float[np.ndarray, "*n 3 3"]
) -> Float[np.ndarray, "*n"]:
    """Angle between rotations with unit quaternions p, q: `arccos(1 - 2 max(1 - (p.q)^2, 1e-15))`.

    Args:
      predicted, true: rotation matrices.

    Returns:
      Degrees in [0, 180].

    Source: ZipMap, evaluation of relative poses.
    """
    p, q = (_unit(matrix_to_quaternion(r.astype(np.float64))) for r in (predicted, true))
    missing = np.maximum(1 - np.sum(p * q, axis=-1) ** 2, _FLOOR)
    return np.degrees(np.arccos(np.clip(1 - 2 * missing, -1, 1)))


def translation_error(
    predicted: Float[np.ndarray, "*n 3"], true: Float[np.ndarray, "*n 3"]
) -> Float[np.ndarray, "*n"]:
    """Angle between directions of motion, up to sign.

    Args:
      predicted, true: relative translations of any length.

    Returns:
      Degrees in [0, 90], 90 for zero translations; 1e6 radians where not finite.

    Source: ZipMap, evaluation of relative poses.
    """
    a, b = (t.astype(np.float64) for t in (predicted, true))
    a = a / (np.linalg.norm(a, axis=-1, keepdims=True) + _FLOOR)
    b = b / (np.linalg.norm(b, axis=-1, keepdims=True) + _FLOOR)
    missing = np.maximum(1 - np.sum(a * b, axis=-1) ** 2, _FLOOR)
    angle = np.arccos(np.sqrt(np.maximum(1 - missing, 0)))
    return np.degrees(np.where(np.isfinite(angle), angle, 1e6))


def pair_errors(
    predicted_w2c: Float[np.ndarray, "v r 4"], true_w2c: Float[np.ndarray, "v r 4"]
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Rotation and translation errors of all relative poses of views i < j, without alignment.

    Args:
      predicted_w2c, true_w2c: world-to-camera poses of the same views.

    Returns:
      Degrees per pair: rotation, translation.

    Raises:
      ValueError: the numbers of poses differ.
    """
    if len(predicted_w2c) != len(true_w2c):
        raise ValueError(
            f"every view needs one predicted and one true pose, got {len(predicted_w2c)} and "
            f"{len(true_w2c)}: match them first"
        )
    pairs = np.array(list(itertools.combinations(range(len(true_w2c)), 2)), int).reshape(-1, 2)
    predicted, true = (
        relative_pose(poses[pairs[:, 1]], poses[pairs[:, 0]])
        for poses in (predicted_w2c.astype(np.float64), true_w2c.astype(np.float64))
    )
    return (
        rotation_error(predicted[:, :3, :3], true[:, :3, :3]),
        translation_error(predicted[:, :3, 3], true[:, :3, 3]),
    )


def area_under_curve(errors: Float[np.ndarray, " p"], threshold: int) -> float:
    """Mean of the cumulative histogram of errors with one-degree bins up to a threshold.

    Bins are summed without interpolation; errors beyond the threshold and NaN count as failures.

    Args:
      errors: errors in degrees.
      threshold: threshold in whole degrees.

    Returns:
      A fraction in [0, 1]; NaN without errors.
    """
    if not len(errors):
        return float("nan")
    histogram, _ = np.histogram(errors, bins=threshold, range=(0, threshold))
    return float(np.mean(np.cumsum(histogram / len(errors))))


@dataclasses.dataclass(frozen=True)
class PairwisePoseMetric:
    """RRA, RTA and AUC over the pairs of views of all sequences.

    Attributes:
      rotation, translation: errors of the pairs in degrees.
    """

    rotation: Float[np.ndarray, " p"] = dataclasses.field(default_factory=lambda: np.zeros(0))
    translation: Float[np.ndarray, " p"] = dataclasses.field(default_factory=lambda: np.zeros(0))

    @classmethod
    def from_poses(
        cls, predicted_w2c: Float[np.ndarray, "v r 4"], true_w2c: Float[np.ndarray, "v r 4"]
    ) -> PairwisePoseMetric:
        """State of one sequence; arguments as for `pair_errors`."""
        return cls(*pair_errors(predicted_w2c, true_w2c))

    def merge(self, other: PairwisePoseMetric) -> PairwisePoseMetric:
        """State of the sequences of both states."""
        return PairwisePoseMetric(
            np.concatenate([self.rotation, other.rotation]),
            np.concatenate([self.translation, other.translation]),
        )

    def compute(self) -> dict[str, float]:
        """`RRA@t`, `RTA@t` and `AUC@t` in percent for t = 5, 15, 30 degrees; NaN without pairs."""
        worst = np.maximum(self.rotation, self.translation)
        values = {}
        for t in THRESHOLDS:
            values[f"RRA@{t}"] = 100 * _share(self.rotation < t)
            values[f"RTA@{t}"] = 100 * _share(self.translation < t)
            values[f"AUC@{t}"] = 100 * area_under_curve(worst, t)
        return values


def trajectory_errors(
    predicted_w2c: Float[np.ndarray, "v r 4"], true_w2c: Float[np.ndarray, "v r 4"]
) -> tuple[float, float, float]:
    """Errors of a trajectory after Sim(3) alignment of its camera centres.

    Args:
      predicted_w2c, true_w2c: world-to-camera poses of the same frames.

    Returns:
      Absolute trajectory error (RMSE of the centres) in the unit of the truth; relative pose
      errors of consecutive frames: RMSE of translations, and of angles in degrees (NaN for a
      single frame).

    Source: ZipMap, evaluation of trajectories.
    """
    predicted = invert_pose(homogeneous(predicted_w2c.astype(np.float64)))
    true = invert_pose(homogeneous(true_w2c.astype(np.float64)))
    aligned = umeyama(predicted[:, :3, 3], true[:, :3, 3]).apply_to_poses(predicted)
    ate = _rms(np.linalg.norm(aligned[:, :3, 3] - true[:, :3, 3], axis=-1))
    steps = [relative_pose(invert_pose(p[:-1]), invert_pose(p[1:])) for p in (aligned, true)]
    difference = relative_pose(invert_pose(steps[1]), invert_pose(steps[0]))
    translation = _rms(np.linalg.norm(difference[:, :3, 3], axis=-1))
    # atan2 of the quaternion's parts is exact for small angles, unlike arccos.
    quaternion = matrix_to_quaternion(difference[:, :3, :3])
    half = np.arctan2(np.linalg.norm(quaternion[:, :3], axis=-1), quaternion[:, 3])
    return ate, translation, _rms(np.degrees(2 * half))


@dataclasses.dataclass(frozen=True)
class TrajectoryMetric:
    """Unweighted mean of ATE and RPE over sequences.

    Attributes:
      errors: one row per sequence: ATE, RPE translation, RPE rotation.
    """

    errors: Float[np.ndarray, "s 3"] = dataclasses.field(default_factory=lambda: np.zeros((0, 3)))

    @classmethod
    def from_poses(
        cls, predicted_w2c: Float[np.ndarray, "v r 4"], true_w2c: Float[np.ndarray, "v r 4"]
    ) -> TrajectoryMetric:
        """State of one sequence; arguments as for `trajectory_errors`."""
        return cls(np.array([trajectory_errors(predicted_w2c, true_w2c)]))

    def merge(self, other: TrajectoryMetric) -> TrajectoryMetric:
        """State of the sequences of both states."""
        return TrajectoryMetric(np.concatenate([self.errors, other.errors]))

    def compute(self) -> dict[str, float]:
        """`ATE`, `RPE trans` (unit of the truth) and `RPE rot` (degrees); NaN if empty."""
        empty = not len(self.errors)
        means = np.full(3, np.nan) if empty else self.errors.mean(axis=0)
        return dict(zip(("ATE", "RPE trans", "RPE rot"), map(float, means), strict=True))


def _unit(quaternion: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n 4"]:
    return quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)


def _share(condition: np.ndarray) -> float:
    return float(np.mean(condition)) if condition.size else float("nan")


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) if x.size else float("nan")
