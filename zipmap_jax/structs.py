"""Records of all models: the input `Views` and the output `Prediction`.

Both are JAX pytrees. The state of a scene is an opaque pytree of its model; `Scene`
(`zipmap_jax.scene.scene`) is the result on the host, at the original image size.

Every array field declares its axes, so that `map_views` can split, pad or gather views.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

_T = TypeVar("_T")
_AXES = "axes"


def _pytree(cls: type[_T]) -> type[_T]:
    """Frozen dataclass whose fields are all pytree children."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


if TYPE_CHECKING:
    from typing import dataclass_transform

    @dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
    def record(cls: type[_T]) -> type[_T]:
        """Frozen dataclass that is a pytree of its fields."""
        ...
else:
    record = _pytree


def axes(letters: str) -> dict[str, tuple[str, ...]]:
    """Return the metadata of an array field: one name per axis, "b v h w c"; "v" = views."""
    return {_AXES: tuple(letters.split())}


def map_views(function: Callable[[Any, int], Any], tree: _T) -> _T:
    """Apply `function(array, view_axis)` to every array of a record that has a view axis.

    Args:
      function: returns the new array.
      tree: a record whose fields declare their axes.

    Returns:
      The record; fields without a view axis are unchanged.
    """
    changes = {}
    for field in dataclasses.fields(tree):  # pyright: ignore[reportArgumentType]
        value, declared = getattr(tree, field.name), field.metadata.get(_AXES, ())
        if value is not None and "v" in declared:
            changes[field.name] = function(value, declared.index("v"))
    return dataclasses.replace(tree, **changes)  # pyright: ignore[reportArgumentType]


@record
class Views:
    """Images of one or more scenes, all of one size.

    A model raises an error for a flag that it does not support.

    Attributes:
      images: network images in the value range of the model's `preparation`; height and width are
        multiples of its patch size.
      valid: False for padded views, which affect no result; None = all valid.
      update: False for views that are predicted without updating the state; None = all update.
      reset: True for views before which the state is reset; None = never.
      masked: True for patches that the model does not see; None = none.
    """

    images: Float[Array, "b v h w 3"] = dataclasses.field(metadata=axes("b v h w c"))
    valid: Bool[Array, "b v"] | None = dataclasses.field(default=None, metadata=axes("b v"))
    update: Bool[Array, "b v"] | None = dataclasses.field(default=None, metadata=axes("b v"))
    reset: Bool[Array, "b v"] | None = dataclasses.field(default=None, metadata=axes("b v"))
    masked: Bool[Array, "b v p"] | None = dataclasses.field(default=None, metadata=axes("b v p"))

    @property
    def mask(self) -> Bool[Array, "b v"]:
        """`valid`, or all True if it is None."""
        if self.valid is None:
            return jnp.ones(self.images.shape[:2], bool)
        return self.valid


@record
class Prediction:
    """Cameras and geometry of each view at network resolution, in the scene's arbitrary unit.

    Optional fields are None where a model does not predict them.

    Attributes:
      depth: z-depth.
      depth_conf: confidence of the depth.
      w2c: world-to-camera poses in OpenCV axes. None if the cameras were inputs.
      intrinsics: pinhole matrices in network pixels. None if the cameras were inputs.
      local_points: points in the camera frame (OpenCV axes).
      world_points: points in the world frame.
      world_conf: confidence of `world_points`.
      rgb: colour in [0, 1] of rendered views.
    """

    depth: Float[Array, "b v h w"] = dataclasses.field(metadata=axes("b v h w"))
    depth_conf: Float[Array, "b v h w"] = dataclasses.field(metadata=axes("b v h w"))
    w2c: Float[Array, "b v 4 4"] | None = dataclasses.field(
        default=None, metadata=axes("b v row column")
    )
    intrinsics: Float[Array, "b v 3 3"] | None = dataclasses.field(
        default=None, metadata=axes("b v row column")
    )
    local_points: Float[Array, "b v h w 3"] | None = dataclasses.field(
        default=None, metadata=axes("b v h w c")
    )
    world_points: Float[Array, "b v h w 3"] | None = dataclasses.field(
        default=None, metadata=axes("b v h w c")
    )
    world_conf: Float[Array, "b v h w"] | None = dataclasses.field(
        default=None, metadata=axes("b v h w")
    )
    rgb: Float[Array, "b v h w 3"] | None = dataclasses.field(
        default=None, metadata=axes("b v h w c")
    )


@record
class HeadOutputs:
    """Outputs of ZipMap's heads before the cameras are decoded, the inputs of its losses.

    Attributes:
      depth: z-depth, > 0.
      depth_conf: confidence of the depth, > 1.
      pose_enc: camera head output of every iteration, the last being the result: world-to-camera
        translation (3), quaternion xyzw (4, not normalised), vertical and horizontal field of view
        in radians (2). None for queried views.
      local_points: points in the camera frame (OpenCV axes). None for queried views.
      rgb: colour in [0, 1] of queried views. None for images.
    """

    depth: Float[Array, "b v h w"] = dataclasses.field(metadata=axes("b v h w"))
    depth_conf: Float[Array, "b v h w"] = dataclasses.field(metadata=axes("b v h w"))
    pose_enc: Float[Array, "i b v 9"] | None = dataclasses.field(
        default=None, metadata=axes("i b v c")
    )
    local_points: Float[Array, "b v h w 3"] | None = dataclasses.field(
        default=None, metadata=axes("b v h w c")
    )
    rgb: Float[Array, "b v h w 3"] | None = dataclasses.field(
        default=None, metadata=axes("b v h w c")
    )


Progress = Callable[[str, int, int], None]
"""Callback of long operations: `progress(stage, done, total)`."""
