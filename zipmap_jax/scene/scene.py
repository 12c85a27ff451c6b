"""The record of a reconstruction."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8


@dataclasses.dataclass(frozen=True)
class Scene:
    """A reconstruction in host memory, on the pixel grid of every image.

    The images are the originals, or copies that were reduced to a maximum size while reading.

    Axes are OpenCV (x right, y down, z forward). The world frame is the first camera's; lengths
    are in the scene's arbitrary unit. Pixel (u, v) = (column, row) has its centre at integer
    coordinates in `intrinsics`, as in the reference's unprojection.

    `depth`, `confidence` and `images` may be lazy sequences, whose arrays are read from files at
    each access: read one view after the other, and not all of them at once.

    Attributes:
      w2c: world-to-camera matrices.
      intrinsics: pinhole matrices in pixels of `images`.
      depth: z-depth per view; NaN where the pixel was cropped away from the network's input.
      confidence: depth confidence per view (> 1; 0 where depth is NaN).
      images: colours per view.
      names: file name or frame label per view.
      times: seconds from the start of the video; None for photographs.
      network_size: (height, width) of the network's input; finer detail in `depth` is interpolated.
      model: name of the model.
      original_sizes: (height, width) of the original images; None = those of `images`.
    """

    w2c: Float[np.ndarray, "v 4 4"]
    intrinsics: Float[np.ndarray, "v 3 3"]
    depth: Sequence[Float[np.ndarray, "h w"]]
    confidence: Sequence[Float[np.ndarray, "h w"]]
    images: Sequence[UInt8[np.ndarray, "h w 3"]]
    names: tuple[str, ...]
    times: tuple[float, ...] | None = None
    network_size: tuple[int, int] = (0, 0)
    model: str = ""
    original_sizes: tuple[tuple[int, int], ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def c2w(self) -> Float[np.ndarray, "v 4 4"]:
        """Camera-to-world matrices."""
        return np.linalg.inv(self.w2c)

    def original_size(self, view: int) -> tuple[int, int]:
        """(height, width) of the original image of a view."""
        if self.original_sizes is None:
            return self.images[view].shape[:2]
        return self.original_sizes[view]

    def original_intrinsics(self, view: int) -> Float[np.ndarray, "3 3"]:
        """Pinhole matrix of a view in pixels of its original image."""
        (height, width), size = self.original_size(view), self.images[view].shape[:2]
        y, x = height / size[0], width / size[1]
        enlarge = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
        return enlarge @ self.intrinsics[view]

    def world_points(self, view: int, stride: int = 1) -> Float[np.ndarray, "h w 3"]:
        """World coordinates of the pixels of one view.

        Args:
          view: index of the view.
          stride: step between the rows and columns of the result.

        Returns:
          Points in the scene's unit; NaN where the depth is unknown.
        """
        height, width = self.depth[view].shape
        row, column = np.mgrid[:height:stride, :width:stride]
        return self.points_at(view, row, column)

    def points_at(
        self, view: int, row: Int[np.ndarray, "..."], column: Int[np.ndarray, "..."]
    ) -> Float[np.ndarray, "... 3"]:
        """World coordinates of selected pixels of one view.

        Args:
          view: index of the view.
          row, column: indices of the pixels.

        Returns:
          Points in the scene's unit; NaN where the depth is unknown.
        """
        depth = self.depth[view][row, column]
        k = self.intrinsics[view]
        camera = np.stack(
            [(column - k[0, 2]) * depth / k[0, 0], (row - k[1, 2]) * depth / k[1, 1], depth], -1
        )
        c2w = np.linalg.inv(self.w2c[view])
        return (camera @ c2w[:3, :3].T + c2w[:3, 3]).astype(np.float32)
