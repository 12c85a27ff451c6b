"""The quadratic twin of the backbone: global blocks that are softmax attention over all views.

What ZipMap's fast weights replace. Its purpose is comparison: the same data and steps tell what
linear time costs in accuracy. Blocks are those of VGGT: queries and keys are normalised and rotated
by the token's place in its own view, as in a frame block, so nothing tells the order of the views.

References: J. Wang et al., VGGT: Visual geometry grounded transformer (2025).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jax import lax

from zipmap_jax.models.aggregator import Aggregator
from zipmap_jax.models.loops import map_chunks
from zipmap_jax.nn.fast_weights import normalise
from zipmap_jax.nn.layers import apply, layer_norm, over_channels

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.nn.blocks import TransformerBlock
    from zipmap_jax.nn.fast_weights import ColumnNorms, FastWeights


@dataclasses.dataclass(frozen=True)
class AttentionAggregator(Aggregator):
    """`Aggregator` whose global blocks are attention, hence without anything to `read_views` from.

    Frame blocks go chunk by chunk, global blocks over all tokens of a scene at once: their memory
    grows with the square of the number of views where the scores are made explicitly (everywhere
    but with cuDNN).
    """

    @property
    def global_block(self) -> TransformerBlock:
        return self.frame_block

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
        """Run all layers over the stream.

        Args:
          params, x, valid, grid: as of `Aggregator.zip_views`.
          weights: of zero layers; returned as they are.
          norms: not used.
          padded: whether `valid` may be False anywhere.
          windows: not used; attention has one.

        Returns:
          As `Aggregator.zip_views`.
        """
        seen = None
        if padded:
            of_scene = jnp.moveaxis(valid, 1, 0).reshape(valid.shape[1], -1)
            seen = jnp.repeat(of_scene, x.shape[3], axis=-1)

        def layer(carry: tuple[Array, Array], xs: Any) -> tuple[tuple[Array, Array], None]:
            stream, taps = carry
            block, microbatch = xs
            frame = map_chunks(lambda chunk: self._frame(block, chunk, grid), stream)
            y = self._mix(block, frame, seen, grid)
            features = self._features(frame, y)
            return (y, lax.dynamic_update_index_in_dim(taps, features, microbatch, 1)), None

        blocks = (params["frame_blocks"], params["global_blocks"])
        body = self._recomputed(layer)
        (x, taps), _ = lax.scan(body, (x, self._empty_taps(x)), (blocks, self._microbatches))
        return weights, taps, x

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
