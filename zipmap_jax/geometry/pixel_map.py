"""The map between pixels of a network image and pixels of its original image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class PixelMap:
    """Affine map from the pixels of a network image to those of the upright original image.

    With pixel centres at integer coordinates, network pixel (u, v) corresponds to the original
    coordinates

        x = scale_x u + offset_x,    y = scale_y v + offset_y.

    Attributes:
      scale_x, scale_y: original pixels per network pixel.
      offset_x, offset_y: original coordinates of the centre of network pixel (0, 0).
      visible: (left, top, right, bottom) of the picture within the network image in network
        pixels, with right and bottom exclusive; the rest is padding.
      network_size, original_size: (height, width) in pixels.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    visible: tuple[int, int, int, int]
    network_size: tuple[int, int]
    original_size: tuple[int, int]

    @property
    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """Homogeneous map from network to original pixel coordinates."""
        return np.array(
            [[self.scale_x, 0, self.offset_x], [0, self.scale_y, self.offset_y], [0, 0, 1]]
        )

    def to_original(self, network_k: Float[np.ndarray, "*b 3 3"]) -> Float[np.ndarray, "*b 3 3"]:
        """Converts intrinsics in network pixels to intrinsics in original pixels.

        Corresponding positions have the same ray, so the principal point is mapped as a position:
        `W/2` becomes `scale (W/2 + 1/2) - 1/2` without a crop.

        Args:
          network_k: intrinsic matrices in network pixels.

        Returns:
          Intrinsic matrices in original pixels.
        """
        return self.matrix @ network_k

    def to_network(self, original_k: Float[np.ndarray, "*b 3 3"]) -> Float[np.ndarray, "*b 3 3"]:
        """Converts intrinsics in original pixels to intrinsics in network pixels.

        Args:
          original_k: intrinsic matrices in original pixels.

        Returns:
          Intrinsic matrices in network pixels.
        """
        return np.linalg.inv(self.matrix) @ original_k

    def reduced(self, size: tuple[int, int]) -> PixelMap:
        """The map after the original image is resized; the areas of both images coincide.

        Args:
          size: new (height, width) of the original image.
        """
        y, x = (new / old for new, old in zip(size, self.original_size, strict=True))
        return dataclasses.replace(
            self,
            scale_x=self.scale_x * x,
            scale_y=self.scale_y * y,
            offset_x=(self.offset_x + 0.5) * x - 0.5,
            offset_y=(self.offset_y + 0.5) * y - 0.5,
            original_size=size,
        )

    def shifted(self, left: int, top: int, network_size: tuple[int, int]) -> PixelMap:
        """The map after the network image is placed inside a larger one.

        Args:
          left, top: position of the network image in pixels of the larger one.
          network_size: (height, width) of the larger one.

        Returns:
          The map of the larger network image.
        """
        x0, y0, x1, y1 = self.visible
        return dataclasses.replace(
            self,
            offset_x=self.offset_x - left * self.scale_x,
            offset_y=self.offset_y - top * self.scale_y,
            visible=(x0 + left, y0 + top, x1 + left, y1 + top),
            network_size=network_size,
        )
