"""Metrics as immutable states in NumPy float64: build one per sequence, merge, compute."""

from zipmap_jax.eval.metrics.depth import DepthMetric, l1_scale, median_scale
from zipmap_jax.eval.metrics.focal import FocalMetric
from zipmap_jax.eval.metrics.pose import (
    PairwisePoseMetric,
    TrajectoryMetric,
    area_under_curve,
    pair_errors,
    rotation_error,
    trajectory_errors,
    translation_error,
)

__all__ = [
    "DepthMetric",
    "FocalMetric",
    "PairwisePoseMetric",
    "TrajectoryMetric",
    "area_under_curve",
    "l1_scale",
    "median_scale",
    "pair_errors",
    "rotation_error",
    "trajectory_errors",
    "translation_error",
]
