"""How pictures become network images of ZipMap: crop or pad to multiples of a patch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import jax.numpy as jnp
import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.images.frames import NetworkImage, stacked
from zipmap_jax.images.resize import Mode, centred, fit, network_shape, resized_shape

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from zipmap_jax.geometry.pixel_map import PixelMap
    from zipmap_jax.images.decode import Frame

_UNIT_RANGE = np.arange(256, dtype=np.float32) / np.float32(255)


@dataclasses.dataclass(frozen=True)
class CropOrPad:
    """The `Preparation` of ZipMap.

    Mode "crop" makes the width `size` and crops taller images; mode "pad" makes the longer side
    `size` and pads to a square with white. Images of different shapes are padded to the largest.

    Attributes:
      patch: network images have sides that are multiples of it.

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
        """uint8 as float32 in [0, 1]; floats are returned unchanged."""
        if images.dtype == np.uint8:
            # A table, as XLA multiplies by 1 / 255 instead of dividing: values would then differ
            # from those on the host by a rounding.
            return jnp.take(jnp.asarray(_UNIT_RANGE), images.astype(jnp.int32), mode="clip")
        return images


def fit_all(
    preparation: Any, frames: Sequence[Frame], size: int, mode: str
) -> tuple[UInt8[np.ndarray, "v h w 3"], list[PixelMap]]:
    """Frames as network images of one size: each fitted, then padded to the largest.

    Args:
      preparation: of the model, see `zipmap_jax.models.api.Preparation`.
      frames: pictures at their original size.
      size, mode: as of `Preparation.fit`.

    Returns:
      Network images, and the map to the original of each.

    Raises:
      UserError: no frames, or as `Preparation.resized_shape`.
    """
    if not frames:
        raise UserError("there are no frames to resize: give at least one image")
    fitted = [preparation.fit(frame.image, size, mode) for frame in frames]
    return stacked(preparation, [NetworkImage(*pair) for pair in fitted])
