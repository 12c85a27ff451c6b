"""Removes unreliable depth: invalid values, far pixels and the tails of a map's distribution.

Source: training recipe, section 2.6.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class DepthFilter:
    """Invalidates depth beyond a maximum, then beyond percentiles of the map; None = no such rule.

    Attributes:
      max_depth: farther pixels become invalid, before the percentiles are computed.
      folder_max_depth: (folder, maximum) pairs, where the maximum depends on a folder's name.
      high, low: percentiles; pixels beyond them become invalid.
      valid_only: compute the percentiles over valid pixels. Parity: the reference counts invalid
        pixels as zeros, so the share of valid pixels that it removes depends on their number (of
        5 % valid pixels "98" removes two fifths, "90" none).
    """

    max_depth: float | None = None
    folder_max_depth: tuple[tuple[str, float], ...] = ()
    high: float | None = None
    low: float | None = None
    valid_only: bool = False

    def __call__(self, depth: Float[np.ndarray, "h w"], folder: str = "") -> np.ndarray:
        """Filter one depth map.

        Args:
          depth: z-depth in the unit of the data set, 0 = invalid.
          folder: path of the frame below the root of its data set; `folder_max_depth` needs it.

        Returns:
          The filtered map [h, w], float32.

        Raises:
          UserError: `folder` contains none of the folders that have a maximum.
        """
        out = np.array(depth, np.float64)
        max_depth = self._max_depth_in(folder)
        if max_depth is not None:
            out[out > max_depth] = 0
        counted = out[out > 0] if self.valid_only else out[~np.isnan(out)]
        if counted.size == 0:
            return out.astype(np.float32)
        bounds = {q: np.percentile(counted, q) for q in (self.high, self.low) if q is not None}
        if self.high is not None and bounds[self.high] > 0:
            out[out > bounds[self.high]] = 0
        if self.low is not None and bounds[self.low] > 0:
            out[out < bounds[self.low]] = 0
        return out.astype(np.float32)

    def _max_depth_in(self, folder: str) -> float | None:
        if not self.folder_max_depth:
            return self.max_depth
        parts = folder.split("/")
        for name, max_depth in self.folder_max_depth:
            if name in parts:
                return max_depth
        names = " or ".join(name for name, _ in self.folder_max_depth)
        raise UserError(
            f"the maximum depth depends on a folder {names}, but the frame is in {folder!r}: "
            "check the layout of the data set"
        )


def clean_depth(depth: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Convert depth to float32, with 0 wherever it is negative or not finite."""
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).astype(np.float32)
