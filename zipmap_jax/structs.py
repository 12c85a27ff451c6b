"""The four records everything in this package flows through.

`Views` go into a model, `SceneState` and `Prediction` come out, and `Scene` is what a user keeps.
The first three are JAX pytrees; `Scene` is host NumPy at the original image size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int

_T = TypeVar("_T")


def _pytree(cls: type[_T]) -> type[_T]:
    """Frozen dataclass whose fields are all pytree children."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


if TYPE_CHECKING:
    from typing import dataclass_transform

    @dataclass_transform(frozen_default=True)
    def _record(cls: type[_T]) -> type[_T]: ...
else:
    _record = _pytree


@_record
class Views:
    """Images of one or more scenes, all of one size.

    Attributes:
      images: RGB in [0, 1], height and width multiples of the patch size.
      valid: False marks padded views, which neither update the state nor count; None = all valid.
    """

    images: Float[Array, "b v h w 3"]
    valid: Bool[Array, "b v"] | None = None

    @property
    def mask(self) -> Bool[Array, "b v"]:
        """`valid`, made explicit."""
        if self.valid is None:
            return jnp.ones(self.images.shape[:2], bool)
        return self.valid


@_record
class SceneState:
    """The zipped scene: the fast weights of every global block, for a batch of scenes.

    Attributes:
      w0, w1, w2: SwiGLU fast weights `f(x) = (silu(x w0) * (x w2)) w1`; axes are layer, scene,
        fast-weight head, input, output. A model that mixes views by attention has zero layers.
      views: number of views zipped so far.
    """

    w0: Float[Array, "l b k d m"]
    w1: Float[Array, "l b k m d"]
    w2: Float[Array, "l b k d m"]
    views: Int[Array, " b"]

    @property
    def weights(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The three stacked fast weights."""
        return self.w0, self.w1, self.w2


@_record
class Prediction:
    """What a model says of each view, at network resolution, in the scene's arbitrary unit.

    Attributes:
      depth: z-depth, > 0.
      depth_conf: confidence of the depth, > 1.
      pose_enc: camera head output, one entry per iteration, the last being the answer:
        world-to-camera translation (3), quaternion xyzw (4, not normalised), vertical and
        horizontal field of view in radians (2). None when rays were read.
      local_points: points in the camera frame (OpenCV axes). None when rays were read.
      rgb: colour in [0, 1] of queried views. None when images were given.
    """

    depth: Float[Array, "b v h w"]
    depth_conf: Float[Array, "b v h w"]
    pose_enc: Float[Array, "i b v 9"] | None = None
    local_points: Float[Array, "b v h w 3"] | None = None
    rgb: Float[Array, "b v h w 3"] | None = None


Progress = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)` by long-running work."""
