"""The backbone: alternating frame blocks and fast-weight (global) blocks over a token stream.

The stream lives as `[n, b, c, p, d]`: n chunks of c views for each of b scenes, p tokens a view.
Every loop runs over chunks, in place, so temporaries never exceed one chunk. The views of a window
share one fast-weight step per layer, whatever the chunking: the gradient is a sum. A window is all
views of a call to `zip_views`, or (streaming) some views of a chunk: what a layer says of a view
hangs on earlier views alone, so that a layer may be done with all of them before the next begins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zipmap_jax.models.global_block import GlobalBlock
from zipmap_jax.models.loops import fori_chunks, get, put
from zipmap_jax.models.shared_views import SharedViews
from zipmap_jax.nn.blocks import TransformerBlock, init_stacked
from zipmap_jax.nn.fast_weights import ColumnNorms, FastWeights, Gradients, step
from zipmap_jax.nn.layers import apply
from zipmap_jax.nn.rope import rope_tables, token_positions

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.models.config import ZipMapConfig
    from zipmap_jax.nn.config import Policy

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Aggregator:
    """Pure functions of stacked block parameters; see the module docstring for the layout.

    Attributes:
      remat: recompute each layer in the backward pass instead of keeping its activations.
      views_axis: mesh axis over which the views of the stream are split; see `ZipMap`.
    """

    config: ZipMapConfig
    policy: Policy
    remat: bool = False
    views_axis: str | None = None

    @property
    def frame_block(self) -> TransformerBlock:
        return TransformerBlock(
            heads=self.config.heads,
            epsilon=1e-5,
            qk_norm=True,
            mlp_ratio=self.config.mlp_ratio,
            layer_scale_init=self.config.layer_scale_init,
            dtype=self.policy.compute,
            precision=self.policy.precision,
            attention=self.policy.attention,
        )

    @property
    def global_block(self) -> nn.Module:
        return GlobalBlock(self.config, self.policy)

    def init(self, key: Array) -> dict[str, Any]:
        """Random block parameters, stacked over layers."""
        keys = jax.random.split(key)
        c = self.config
        tokens = jnp.zeros((1, 1, c.width))
        return {
            "frame_blocks": init_stacked(self.frame_block, keys[0], c.depth, tokens),
            "global_blocks": init_stacked(self.global_block, keys[1], c.depth, tokens),
        }

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
        """Run all layers over the stream, stepping the fast weights of each once a window.

        Args:
          params: tree with `frame_blocks` and `global_blocks`.
          weights: fast weights of all layers, leading layer axis; of all scenes, or one for all.
          norms: column norms to restore, of the same axes.
          x: token stream.
          valid: False for padded views.
          grid: (rows, columns) of patches.
          padded: whether `valid` may leave a scene without any view.
          windows: that the views make; more than one only of a single chunk, and with weights of
            all scenes.

        Returns:
          The stepped fast weights; of each tapped layer the outputs of its frame block and its
          global block, concatenated, chunks leading, so that heads can go through them without a
          copy; and the stream after the last layer.
        """
        chunks, b, c, p, _ = x.shape
        tokens_valid = jnp.repeat(valid.reshape(chunks, b, c), p, axis=-1)
        count = self._devices.sum(jnp.sum(valid, axis=(0, 2), dtype=jnp.int32))
        seen = count > 0

        def in_windows(
            carry: tuple[Array, Array], xs: Any
        ) -> tuple[tuple[Array, Array], FastWeights]:
            stream, taps = carry
            block, w, n, microbatch = xs
            frame = self._frame(block, stream[0], grid)
            w, y = self._stream(block, w, n, frame, valid[0] if padded else None, windows)
            return (put(stream, y, 0), put(taps, self._features(frame, y), 0, microbatch)), w

        def layer(carry: tuple[Array, Array], xs: Any) -> tuple[tuple[Array, Array], FastWeights]:
            stream, taps = carry
            block, w, n, microbatch = xs

            def write(i: Any, carry: tuple[Array, Gradients]) -> tuple[Array, Gradients]:
                stream, total = carry
                y = self._frame(block, get(stream, i), grid)
                g = self._gradients(block, w, y, get(tokens_valid, i))
                return put(stream, y, i), jax.tree.map(jnp.add, total, g)

            def read(i: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
                stream, taps = carry
                frame = get(stream, i)
                y = self._read(block, w, frame)
                return put(stream, y, i), put(taps, self._features(frame, y), i, microbatch)

            zero = Gradients(*[jnp.zeros((b, *w.w0.shape[1:]))] * 3)
            stream, total = fori_chunks(chunks, write, (stream, zero))
            total = Gradients(*self._devices.sum(jnp.stack(total)))
            w = self._step(w, total, n, seen if padded else None)
            return fori_chunks(chunks, read, (stream, taps)), w

        blocks = (params["frame_blocks"], params["global_blocks"])
        init = (x, self._empty_taps(x))
        body = layer if windows == 1 else in_windows
        (x, taps), weights = lax.scan(
            self._recomputed(body), init, (blocks, weights, norms, self._microbatches)
        )
        return weights, taps, x

    def read_views(
        self,
        params: Any,
        weights: FastWeights,
        x: Float[Array, "n b c p d"],
        grid: tuple[int, int],
    ) -> Float[Array, "n 4 b c p d2"]:
        """Run all layers over one chunk (n = 1), reading the fast weights and leaving them."""

        def layer(carry: tuple[Array, Array], xs: Any) -> tuple[tuple[Array, Array], None]:
            stream, taps = carry
            block, w, microbatch = xs
            frame = self._frame(block, stream[0], grid)
            y = self._read(block, w, frame)
            return (y[None], put(taps, self._features(frame, y), 0, microbatch)), None

        blocks = (params["frame_blocks"], params["global_blocks"])
        init = (x, self._empty_taps(x))
        return lax.scan(self._recomputed(layer), init, (blocks, weights, self._microbatches))[0][1]

    def patch_queries_and_keys(self, block: Any, x: Float[Array, "b v t d"]) -> tuple[Array, Array]:
        """Queries and keys of tokens in one global block, of unit length."""
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        found = apply(self.global_block, block, tokens, method="patch_queries_and_keys")
        queries, keys = (y.reshape(x.shape) for y in found)
        return queries, keys

    @property
    def _devices(self) -> SharedViews:
        return SharedViews(self.views_axis)

    @property
    def _microbatches(self) -> Array:
        """Tap buffer each layer writes to: that of the next tap, which itself writes last."""
        layers = np.arange(self.config.depth)
        return jnp.asarray(np.searchsorted(self.config.taps, layers))

    def _empty_taps(self, x: Array) -> Array:
        return jnp.zeros((x.shape[0], 4, *x.shape[1:-1], 2 * x.shape[-1]), self.policy.taps)

    def _features(self, frame: Array, y: Array) -> Array:
        return jnp.concatenate([frame, y], -1).astype(self.policy.taps)

    def _recomputed(self, layer: Callable[..., _T]) -> Callable[..., _T]:
        """A layer of which the backward pass keeps the input alone, if asked for.

        The layer as a whole: weights and gradients of every scene take more memory than tokens.
        """
        return jax.checkpoint(layer, prevent_cse=False) if self.remat else layer

    def _frame(self, block: Any, x: Float[Array, "b c p d"], grid: tuple[int, int]) -> Array:
        images = x.reshape(-1, *x.shape[2:])
        return apply(self.frame_block, block[0], images, self._rope(grid)).reshape(x.shape)

    def _rope(self, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Rotary tables of the tokens of one view."""
        positions = token_positions(self.config.special_tokens, *grid)
        head_dim = self.config.width // self.config.heads
        return rope_tables(positions, head_dim, self.config.rope_base)

    def _stream(
        self,
        block: Any,
        weights: FastWeights,
        norms: ColumnNorms,
        x: Float[Array, "b c p d"],
        valid: Bool[Array, "b c"] | None,
        windows: int,
    ) -> tuple[FastWeights, Float[Array, "b c p d"]]:
        """A global block, one window after the other: write, step, read. None: all are valid."""

        def window(w: FastWeights, xs: Any) -> tuple[FastWeights, Array]:
            x, valid = xs
            tokens = None if valid is None else jnp.repeat(valid, x.shape[2], axis=-1)
            g = self._gradients(block, w, x, tokens)
            w = self._step(w, g, norms, None if valid is None else jnp.any(valid, axis=-1))
            return w, self._read(block, w, x)

        def cut(x: Array) -> Array:
            return jnp.moveaxis(x.reshape(x.shape[0], windows, -1, *x.shape[2:]), 1, 0)

        weights, y = lax.scan(window, weights, jax.tree.map(cut, (x, valid)))
        return weights, jnp.moveaxis(y, 0, 1).reshape(x.shape)

    def _gradients(
        self,
        block: Any,
        weights: FastWeights,
        x: Float[Array, "b c p d"],
        valid: Bool[Array, "b n"] | None,
    ) -> Gradients:
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        return apply(self.global_block, block[1], tokens, weights, valid, method="gradients")

    def _read(self, block: Any, weights: FastWeights, x: Float[Array, "b c p d"]) -> Array:
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        return apply(self.global_block, block[1], tokens, weights, method="read").reshape(x.shape)

    def _step(
        self,
        weights: FastWeights,
        total: Gradients,
        norms: ColumnNorms,
        seen: Bool[Array, " b"] | None,
    ) -> FastWeights:
        """A step of the fast weights, of the scenes of which anything was seen. None: of all."""
        stepped = step(
            weights,
            total,
            norms,
            steps=self.config.fast.newton_schulz_steps,
            precision=self.policy.newton_schulz,
            axis=self.views_axis,
        )
        if seen is None:
            return stepped
        # A step without tokens would renormalise, which is not quite the identity.
        some = seen[:, None, None, None]
        return jax.tree.map(lambda new, old: jnp.where(some, new, old), stepped, weights)
