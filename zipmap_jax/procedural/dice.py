"""Random numbers from large blocks.

A scene needs about a hundred draws. Each call of `jax.random` inlines its own generator, so a
program with separate calls takes ten times as long to compile as one with slices of a block.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

_BLOCK = 4096


class Dice:
    """Independent numbers in the order of the calls; an instance is used within one trace only.

    Args:
      key: random key.
    """

    def __init__(self, key: Array):
        self._key = key
        self._blocks = 0
        self._left = jnp.zeros(0)

    def uniform(
        self, shape: tuple[int, ...] = (), low: float = 0.0, high: float = 1.0
    ) -> Float[Array, "..."]:
        """Draw uniform numbers in [low, high)."""
        size = math.prod(shape)
        if size > len(self._left):
            count = max(_BLOCK, size)
            self._left = jax.random.uniform(jax.random.fold_in(self._key, self._blocks), (count,))
            self._blocks += 1
        numbers, self._left = self._left[:size], self._left[size:]
        return low + (high - low) * numbers.reshape(shape)

    def normal(self, shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
        """Draw standard normal numbers, truncated at about 3.7 standard deviations."""
        return math.sqrt(2.0) * jax.lax.erf_inv(self.uniform(shape, -0.9998, 0.9998))

    def chance(self, probability: float | Array, shape: tuple[int, ...] = ()) -> Bool[Array, "..."]:
        """Draw booleans that are True with the given probability."""
        return self.uniform(shape) < probability

    def angle(self, shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
        """Draw angles in radians, uniform in [0, 2 pi)."""
        return self.uniform(shape, 0.0, 2.0 * math.pi)
