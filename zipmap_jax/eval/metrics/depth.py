"""Depth metrics of a sequence, up to its scale."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Alignment = Literal["scale", "median", "metric"]
NAMES = ("AbsRel", "SqRel", "RMSE", "LogRMSE", "delta<1.25", "delta<1.25^2", "delta<1.25^3")
_SMALLEST_DEPTH = 1e-5


def l1_scale(
    predicted: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"], iterations: int = 10
) -> float:
    """Scale s that nearly minimises `sum |s p - g|`, by iteratively reweighted least squares.

    Parity: ten iterations from the ratio of the means, before convergence.

    Args:
      predicted, true: depths p and g of the valid pixels, at least one.
      iterations: number of reweightings.

    Returns:
      The scale, at least 1e-3.

    Source: ZipMap, evaluation of video depth.
    """
    p, g = predicted.astype(np.float64), true.astype(np.float64)
    scale = float(np.mean(g) / np.mean(p))
    for _ in range(iterations):
        weights = 1 / (np.abs(scale * p - g) + 1e-8)
        scale = float(np.sum(weights * p * g) / np.sum(weights * p * p))
    return max(scale, 1e-3)


def median_scale(predicted: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> float:
    """Ratio of the medians; for an even number of pixels, the lower middle value."""
    middle = (len(true) - 1) // 2
    p, g = (np.partition(x.astype(np.float64), middle)[middle] for x in (predicted, true))
    return float(g / p)


@dataclasses.dataclass(frozen=True)
class DepthMetric:
    """Mean of the depth metrics over sequences, weighted by their valid pixels.

    Attributes:
      sums: sum of the metrics of `NAMES`, times the number of pixels.
      pixels: number of valid pixels.
    """

    sums: Float[np.ndarray, "7"] = dataclasses.field(default_factory=lambda: np.zeros(len(NAMES)))
    pixels: int = 0

    @classmethod
    def from_depth(
        cls,
        predicted: Float[np.ndarray, "*n"],
        true: Float[np.ndarray, "*n"],
        valid: Bool[np.ndarray, "*n"],
        alignment: Alignment = "scale",
        clip: float | None = None,
    ) -> DepthMetric:
        """State of one sequence, all frames aligned together.

        Args:
          predicted: predicted depth, at the size of the truth.
          true: true z-depth.
          valid: True for pixels that count.
          alignment: "scale" = `l1_scale`, "median" = `median_scale`, "metric" = none.
          clip: upper bound of the predicted depth after alignment.

        Returns:
          The state; empty if no pixel is valid.

        Raises:
          ValueError: shapes differ, or the alignment is unknown.
        """
        if not predicted.shape == true.shape == valid.shape:
            raise ValueError(
                f"depth maps and mask must have one shape, got {predicted.shape}, {true.shape} "
                f"and {valid.shape}: resize the prediction to the truth"
            )
        aligners = {"scale": l1_scale, "median": median_scale, "metric": lambda p, g: 1.0}
        if alignment not in aligners:
            raise ValueError(f"alignment must be one of {sorted(aligners)}, got {alignment!r}")
        p, g = predicted[valid].astype(np.float64), true[valid].astype(np.float64)
        if not p.size:
            return cls()
        p = p * aligners[alignment](p, g)
        p = np.maximum(p if clip is None else np.minimum(p, clip), _SMALLEST_DEPTH)
        return cls(_metrics(p, g) * p.size, p.size)

    def merge(self, other: DepthMetric) -> DepthMetric:
        """State of the sequences of both states."""
        return DepthMetric(self.sums + other.sums, self.pixels + other.pixels)

    def compute(self) -> dict[str, float]:
        """The metrics by name; NaN without valid pixels."""
        if not self.pixels:
            return dict.fromkeys(NAMES, float("nan"))
        return dict(zip(NAMES, map(float, self.sums / self.pixels), strict=True))


def _metrics(p: Float[np.ndarray, " n"], g: Float[np.ndarray, " n"]) -> Float[np.ndarray, "7"]:
    """The metrics of `NAMES` for aligned depths p and true depths g."""
    error, ratio = np.abs(p - g), np.maximum(p / g, g / p)
    return np.array(
        [
            np.mean(error / g),
            np.mean(error**2 / g),
            np.sqrt(np.mean(error**2)),
            np.sqrt(np.mean((np.log(p) - np.log(g)) ** 2)),
            *(np.mean(ratio < 1.25**power) for power in (1, 2, 3)),
        ]
    )
