"""Closed-form alignment of corresponding point sets, in NumPy float64 on the host."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.geometry.rotation import nearest_rotation

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Similarity:
    """The similarity transform `x -> scale R x + t`.

    Attributes:
      scale: length in the target frame per length in the source frame.
      rotation: R.
      translation: t, in the unit of the target frame.
    """

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def apply(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Maps points from the source frame to the target frame.

        Args:
          points: coordinates in the source frame.

        Returns:
          Coordinates in the target frame.
        """
        return self.scale * (points @ self.rotation.T) + self.translation

    def apply_to_poses(self, c2w: Float[np.ndarray, "*n 4 4"]) -> Float[np.ndarray, "*n 4 4"]:
        """Maps camera-to-world poses: rotates the orientations and maps the centres as points.

        Args:
          c2w: camera-to-world poses in the source frame.

        Returns:
          Camera-to-world poses in the target frame, in float64.
        """
        moved = np.array(c2w, np.float64)
        moved[..., :3, :3] = self.rotation @ moved[..., :3, :3]
        moved[..., :3, 3] = self.apply(moved[..., :3, 3])
        return moved

    def inverse(self) -> Similarity:
        """The similarity transform from the target frame to the source frame."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -(rotation @ self.translation) / self.scale)


def umeyama(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"], with_scale: bool = True
) -> Similarity:
    """Similarity transform of `source` onto `target` in the least-squares sense.

    Minimises `sum_i |target_i - (scale R source_i + t)|^2`.

    Args:
      source: n >= 1 points in the source frame.
      target: the corresponding points in the target frame.
      with_scale: whether the scale is estimated; False fixes it to 1 (a rigid motion).

    Returns:
      The minimiser; its scale is 1 if all source points coincide.

    Raises:
      ValueError: the shapes differ, or a coordinate is not finite.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point
      patterns, PAMI 1991.
    """
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3 or not len(source):
        raise ValueError(
            f"Alignment needs two equal non-empty lists of 3-D points, got shapes {source.shape} "
            f"and {target.shape}; match them first."
        )
    a, b = source.astype(np.float64), target.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("Alignment needs finite points, got NaN or infinity; drop those pairs.")
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    covariance = (b - mean_b).T @ (a - mean_a) / len(a)
    rotation = nearest_rotation(covariance)
    variance = np.mean(np.sum((a - mean_a) ** 2, axis=1))
    scale = 1.0
    if with_scale and variance > 0:
        scale = float(np.trace(rotation.T @ covariance) / variance)
    return Similarity(scale, rotation, mean_b - scale * (rotation @ mean_a))
