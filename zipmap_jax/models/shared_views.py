"""What devices that share the views of a scene tell each other."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from jaxtyping import Array, Bool


@dataclasses.dataclass(frozen=True)
class SharedViews:
    """Collectives over a mesh axis; without one, a device has all views and talks to nobody.

    Attributes:
      axis: name of the mesh axis, inside `jax.shard_map`.
    """

    axis: str | None = None

    def sum(self, x: Array) -> Array:
        """The sum over all devices."""
        return x if self.axis is None else lax.psum(x, self.axis)

    def gather(self, x: Array) -> Array:
        """The views of all devices, along axis 1."""
        return x if self.axis is None else lax.all_gather(x, self.axis, axis=1, tiled=True)

    def own(self, x: Array, count: int, axis: int) -> Array:
        """This device's `count` views, of those of all devices along `axis`."""
        return lax.dynamic_slice_in_dim(x, self._number * count, count, axis)

    def first(self, count: int) -> Bool[Array, " v"]:
        """Which of this device's `count` views is the first of the scene."""
        return self._number * count + jnp.arange(count) == 0

    @property
    def _number(self) -> Array | int:
        """This device's, among those that share the views."""
        return 0 if self.axis is None else lax.axis_index(self.axis)
