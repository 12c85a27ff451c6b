"""The quadratic twin of the backbone: global blocks that are softmax attention over all views.

What ZipMap's fast weights replace. Its purpose is comparison: the same data and steps tell what
linear time costs in accuracy. Blocks are those of VGGT: queries and keys are normalised and rotated
by the token's place in its own view, as in a frame block, so nothing tells the order of the views.

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
    """Global blocks are attention, hence without a state that could be carried on or read.

    Frame blocks go chunk by chunk, global blocks over all tokens of a scene at once: their memory
    grows with the square of the number of views where the scores are materialised (everywhere but
    with cuDNN).
    """

    masks_padding: ClassVar[bool] = True
    shares_views: ClassVar[bool] = False

    @property
    def global_block(self) -> TransformerBlock:
        return self.frame_block

    @property
    def layers(self) -> tuple[int, int, int, int]:
        """Those of the fast weights that it replaces, but without layers."""
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
        """Attention among the tokens of all views: scores of some heads, and hidden units."""
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
        """Run all layers; the fast weights, of zero layers, are returned as they are."""
        del norms, windows
        seen = None
        if padded:
            of_scene = jnp.moveaxis(valid, 1, 0).reshape(valid.shape[1], -1)
            seen = jnp.repeat(of_scene, x.shape[3], axis=-1)

        def layer(carry: tuple[Array, Array], xs: Any) -> tuple[tuple[Array, Array], None]:
            stream, taps = carry
            block, tap = xs
            frame = map_chunks(lambda chunk: self._frame(block, chunk, grid), stream)
            y = self._mix(block, frame, seen, grid)
            features = self._features(frame, y)
            return (y, lax.dynamic_update_index_in_dim(taps, features, tap, 1)), None

        blocks = (params["frame_blocks"], params["global_blocks"])
        body = self._recomputed(layer)
        (x, taps), _ = lax.scan(body, (x, self._empty_taps(x)), (blocks, self._tap_indices))
        return weights, taps, x

    def read_views(
        self, params: Any, weights: FastWeights, x: Array, grid: tuple[int, int]
    ) -> Array:
        """Raise UserError: there is no state to read."""
        del params, weights, x, grid
        raise UserError("attention has no state that could be read: load a state_query checkpoint")

    def patch_queries_and_keys(self, block: Any, x: Float[Array, "b v t d"]) -> tuple[Array, Array]:
        """Queries and keys of tokens in one global block before each head rotates its own."""
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
        seen: Bool[Array, "b t"] | None,
        grid: tuple[int, int],
    ) -> Float[Array, "n b c p d"]:
        """The global block, on all tokens of a scene as one sequence."""
        chunks, b, c, _, d = x.shape
        cos, sin = (jnp.tile(table, (chunks * c, 1)) for table in self._rope(grid))

        scene = jnp.moveaxis(x, 1, 0)
        y = apply(self.global_block, block[1], scene.reshape(b, -1, d), (cos, sin), seen)
        return jnp.moveaxis(y.reshape(scene.shape), 0, 1)
