"""Arrays of a batch by name: axes and types, declared once for reading, splitting and sharding.

Axis letters: b scenes, v views, q target views (to be rendered), h w pixels. A batch of several
microbatches has one more axis in front, or has them one after another along b (on the host).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TARGET = "target_"
"""Prefix of the arrays of target views."""


@dataclasses.dataclass(frozen=True)
class BatchArray:
    """Axes and type of one array.

    Attributes:
      axes: a letter or a number for every axis, separated by spaces.
      dtype: NumPy type.
    """

    axes: str
    dtype: type[np.generic]

    @property
    def view_axis(self) -> int | None:
        """Position of the axis of views or target views; None if the array belongs to the scene."""
        letters = self.axes.split()
        return next((i for i, letter in enumerate(letters) if letter in "vq"), None)

    def shape(self, **sizes: int) -> tuple[int, ...]:
        """Shape for sizes of the axes by letter."""
        return tuple(sizes[axis] if axis.isalpha() else int(axis) for axis in self.axes.split())


_VIEWS = {
    "depth": BatchArray("b v h w", np.float32),
    "intrinsics": BatchArray("b v 3 3", np.float32),
    "w2c": BatchArray("b v 4 4", np.float32),
}

LOADED: Mapping[str, BatchArray] = {
    "images": BatchArray("b v h w 3", np.uint8),
    **_VIEWS,
    "ids": BatchArray("b v", np.int32),
    "source": BatchArray("b", np.int32),
    "sequence": BatchArray("b", np.int32),
    "failures": BatchArray("b", np.int32),
}
"""Arrays that the loader reads on the host."""

POSED_VIEWS: Mapping[str, BatchArray] = {
    "images": BatchArray("b v h w 3", np.float32),
    "valid": BatchArray("b v h w", np.bool_),
    **_VIEWS,
}
"""Arrays of posed views with depth, on the device."""

SCENES: Mapping[str, BatchArray] = {"detailed": BatchArray("b", np.bool_)}
"""Arrays of a training batch that belong to its scenes."""

TARGETS: Mapping[str, BatchArray] = {
    TARGET + name: BatchArray(array.axes.replace("v", "q"), array.dtype)
    for name, array in POSED_VIEWS.items()
}
"""Arrays of the target views of a state query."""

TRAINING: Mapping[str, BatchArray] = {**POSED_VIEWS, **SCENES, **TARGETS}
"""All arrays that a training batch may have."""


def view_axis(name: str) -> int | None:
    """Position of the view axis of an array of a batch; None if it belongs to the scene.

    Raises:
      KeyError: no batch has an array of that name.
    """
    return (TRAINING[name] if name in TRAINING else LOADED[name]).view_axis


def arrays_of_views(names: Iterable[str]) -> list[str]:
    """Names of the arrays that have a view axis and are not of target views."""
    return [n for n in names if view_axis(n) is not None and not n.startswith(TARGET)]


def take_views(array: Any, name: str, indices: Any) -> Any:
    """Select views of an array of a batch, NumPy or JAX; arrays without views are unchanged."""
    axis = view_axis(name)
    return array if axis is None else array[(slice(None),) * axis + (indices,)]
