"""Network images of ZipMap: crop or pad to multiples of a patch."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import jax.numpy as jnp
import numpy as np

from zipmap_jax.images.resize import Mode, centred, fit, network_shape, resized_shape

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from zipmap_jax.geometry.pixel_map import PixelMap

_UNIT_RANGE = np.arange(256, dtype=np.float32) / np.float32(255)


@dataclasses.dataclass(frozen=True)
class CropOrPad:
    """The `Preparation` of ZipMap.

    Mode "crop" makes the width `size` and crops taller images; mode "pad" makes the longer side
    `size` and pads to a square with white. Images of different shapes are padded to the largest.

    Attributes:
      patch: patch size, which divides both sides of a network image.

    Source: ZipMap's demonstration, image preprocessing.
    """

    patch: int

    def resized_shape(self, original: tuple[int, int], size: int, mode: str) -> tuple[int, int]:
        return resized_shape(*original, size, self.patch, cast("Mode", mode))

    def network_shape(
        self, originals: list[tuple[int, int]], size: int, mode: str
    ) -> tuple[int, int]:
        return network_shape(originals, size, self.patch, cast("Mode", mode))

    def fit(
        self, image: UInt8[np.ndarray, "h w 3"], size: int, mode: str
    ) -> tuple[UInt8[np.ndarray, "h2 w2 3"], PixelMap]:
        return fit(image, size, self.patch, cast("Mode", mode))

    def pad(
        self, image: UInt8[np.ndarray, "h w 3"], pixel_map: PixelMap, shape: tuple[int, int]
    ) -> tuple[UInt8[np.ndarray, "h2 w2 3"], PixelMap]:
        return centred(image, pixel_map, shape)

    def normalise(self, images: Any) -> Any:
        """Converts uint8 to float32 in [0, 1]; returns floats unchanged."""
        if images.dtype == np.uint8:
            # A table, since XLA multiplies by 1 / 255, which rounds differently from a division.
            return jnp.take(jnp.asarray(_UNIT_RANGE), images.astype(jnp.int32), mode="clip")
        return images
