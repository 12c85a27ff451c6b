"""Backbone with softmax attention over all views in its global blocks, as in VGGT.

It measures what the linear time of fast weights costs in accuracy. Queries and keys are normalised
and rotated by the token's position within its view, so the order of the views has no effect.

References: J. Wang et al., VGGT: Visual geometry grounded transformer (2025).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import jax.numpy as jnp
from jax import lax

from zipmap_jax.errors import UserError
from zipmap_jax.models.backbone import Backbone, bytes_of_scores
from zipmap_jax.nn.fast_weights import FastWeights, normalise
from zipmap_jax.nn.layers import apply, layer_norm, over_channels
from zipmap_jax.nn.loops import map_chunks

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.nn.blocks import TransformerBlock
    from zipmap_jax.nn.fast_weights import ColumnNorms


@dataclasses.dataclass(frozen=True)
class AttentionBackbone(Backbone):
    """Backbone with attention in its global blocks, and therefore without state.

    Frame blocks process chunks, global blocks all tokens of a scene. Where attention scores are
    materialised (everywhere but with cuDNN), memory grows with the square of the number of views.
    """

    masks_padding: ClassVar[bool] = True
    shares_views: ClassVar[bool] = False

    @property
    def global_block(self) -> TransformerBlock:
        return self.frame_block

    @property
    def layers(self) -> tuple[int, int, int, int]:
        """Sizes of the fast weights that attention replaces, with zero layers."""
        fast = self.config.fast
        d = self.config.width // fast.heads
        return 0, fast.heads, d, fast.hidden_multiple * d

    def initial_weights(self, params: Any, batch: int) -> FastWeights:
        """Fast weights of zero layers."""
        del params
        _, heads, d, m = self.layers
        wide, tall = jnp.zeros((0, batch, heads, d, m)), jnp.zeros((0, batch, heads, m, d))
        return FastWeights(wide, tall, wide)

    def mixing_bytes(self, views: int, tokens: int) -> tuple[int, int]:
        """Zero, and bytes of attention among all tokens: scores of some heads, hidden units."""
        c, scene = self.config, views * tokens
        scores = bytes_of_scores(c.heads, scene**2 * 4)
        return 0, 2 * (scores + scene * c.mlp_ratio * c.width * 4)

    def zip_views(
        self,
        params: Any,
        weights: FastWeights,
        norms: ColumnNorms,
        x: Float[Array, "n b c p d"],
        valid: Bool[Array, "n b c"],
        grid: tuple[int, int],
        padded: bool = True,
        windows: int = 1,
    ) -> tuple[FastWeights, Float[Array, "n 4 b c p d2"], Float[Array, "n b c p d"]]:
        """See `Backbone.zip_views`; the fast weights have no layers and are returned unchanged."""
        del norms, windows
        valid_tokens = None
        if padded:
            scenes_first = jnp.moveaxis(valid, 1, 0).reshape(valid.shape[1], -1)
            valid_tokens = jnp.repeat(scenes_first, x.shape[3], axis=-1)

        def layer(carry: tuple[Array, Array], xs: Any) -> tuple[tuple[Array, Array], None]:
            stream, taps = carry
            block, tap = xs
            frame = map_chunks(lambda chunk: self._frame(block, chunk, grid), stream)
            y = self._mix(block, frame, valid_tokens, grid)
            features = self._features(frame, y)
            return (y, lax.dynamic_update_index_in_dim(taps, features, tap, 1)), None

        (x, taps), _ = self._scan(layer, params, x)
        return weights, taps, x

    def read_views(
        self, params: Any, weights: FastWeights, x: Array, grid: tuple[int, int]
    ) -> Array:
        """Raise UserError, as attention has no state."""
        del params, weights, x, grid
        raise UserError("attention has no state to read: load a state_query checkpoint")

    def patch_queries_and_keys(self, block: Any, x: Float[Array, "b v t d"]) -> tuple[Array, Array]:
        """Queries and keys of tokens in one global block, before the rotary embedding."""
        qkv = block["attn"]["qkv"]
        y = apply(layer_norm(1e-5), block["norm1"], x)
        y = jnp.matmul(y, qkv["kernel"], precision=self.policy.precision)
        y = y + over_channels(qkv["bias"], y.ndim)
        queries, keys, _ = (normalise(part) for part in jnp.split(y, 3, -1))
        return queries, keys

    def _mix(
        self,
        block: Any,
        x: Float[Array, "n b c p d"],
        valid: Bool[Array, "b t"] | None,
        grid: tuple[int, int],
    ) -> Float[Array, "n b c p d"]:
        """Run the global block on all tokens of a scene as one sequence."""
        chunks, b, c, _, d = x.shape
        cos, sin = (jnp.tile(table, (chunks * c, 1)) for table in self._rope(grid))

        scene = jnp.moveaxis(x, 1, 0)
        y = apply(self.global_block, block[1], scene.reshape(b, -1, d), (cos, sin), valid)
        return jnp.moveaxis(y.reshape(scene.shape), 0, 1)
