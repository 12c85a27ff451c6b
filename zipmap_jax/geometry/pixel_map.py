"""The map between the pixels of a network image and those of the original image."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class PixelMap:
    """How the pixels of a network image lie on the upright original image.

    With pixel centres at integer coordinates, network pixel (u, v) shows the original image at

        x = scale_x u + offset_x,    y = scale_y v + offset_y.

    Attributes:
      scale_x, scale_y: original pixels per network pixel.
      offset_x, offset_y: original coordinates of the centre of network pixel (0, 0).
      visible: (left, top, right, bottom) of the picture within the network image in network
        pixels, right and bottom exclusive; what lies outside is padding.
      network_size, original_size: (height, width).
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
        """Intrinsics in network pixels as intrinsics in original pixels.

        A network pixel and the place it shows in the original image have the same ray, hence the
        principal point moves with the pixel centres: `W/2` becomes `scale (W/2 + 1/2) - 1/2` where
        nothing is cropped.
        """
        return self.matrix @ network_k

    def to_network(self, original_k: Float[np.ndarray, "*b 3 3"]) -> Float[np.ndarray, "*b 3 3"]:
        """Inverse of `to_original`."""
        return np.linalg.inv(self.matrix) @ original_k

    def shifted(self, left: int, top: int, network_size: tuple[int, int]) -> PixelMap:
        """The map after the network image is placed at (left, top) of a larger one."""
        x0, y0, x1, y1 = self.visible
        return dataclasses.replace(
            self,
            offset_x=self.offset_x - left * self.scale_x,
            offset_y=self.offset_y - top * self.scale_y,
            visible=(x0 + left, y0 + top, x1 + left, y1 + top),
            network_size=network_size,
        )
