"""The state of a scene in ZipMap: its fast weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

from zipmap_jax.structs import record

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


@record
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
