"""The state of ZipMap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

from zipmap_jax.structs import record

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


@record
class SceneState:
    """Fast weights of every global block, for a batch of zipped scenes.

    Attributes:
      w0, w1, w2: weights of `f(x) = (silu(x w0) * (x w2)) w1`, axes [layer, scene, head, input,
        output]; zero layers in models with attention.
      views: number of views zipped so far, per scene.
    """

    w0: Float[Array, "l b k d m"]
    w1: Float[Array, "l b k m d"]
    w2: Float[Array, "l b k d m"]
    views: Int[Array, " b"]

    @property
    def weights(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(w0, w1, w2)."""
        return self.w0, self.w1, self.w2
