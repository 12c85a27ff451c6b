"""Collectives for models whose views are sharded over a mesh axis."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from jaxtyping import Array, Bool


@dataclasses.dataclass(frozen=True)
class SharedViews:
    """Collectives over a mesh axis, the identity without one.

    Attributes:
      axis: name of the mesh axis, inside `jax.shard_map`.
    """

    axis: str | None = None

    def sum(self, x: Array) -> Array:
        """Sum over all devices."""
        return x if self.axis is None else lax.psum(x, self.axis)

    def gather(self, x: Array) -> Array:
        """Views of all devices, along axis 1."""
        return x if self.axis is None else lax.all_gather(x, self.axis, axis=1, tiled=True)

    def own(self, x: Array, count: int, axis: int) -> Array:
        """This device's `count` views along `axis` of an array of all views."""
        return lax.dynamic_slice_in_dim(x, self._index * count, count, axis)

    def first(self, count: int) -> Bool[Array, " v"]:
        """True for the first view of the scene, among this device's `count` views."""
        return self._index * count + jnp.arange(count) == 0

    @property
    def _index(self) -> Array | int:
        """Index of this device on the mesh axis."""
        return 0 if self.axis is None else lax.axis_index(self.axis)
