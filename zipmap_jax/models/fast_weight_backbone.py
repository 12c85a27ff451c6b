"""The backbone of ZipMap: global blocks are fast weights that take one gradient step per window.

The views of a window share one fast-weight step per layer, whatever the chunking: the gradient is a
sum. A window is all views of a call to `zip_views`, or (streaming) some views of a chunk. A view's
features depend only on earlier views, so a layer can finish the whole chunk before the next begins.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from zipmap_jax.models.backbone import Backbone
from zipmap_jax.models.global_block import GlobalBlock
from zipmap_jax.nn.fast_weights import ColumnNorms, FastWeights, Gradients, step
from zipmap_jax.nn.layers import apply
from zipmap_jax.nn.loops import fori_chunks, get, put

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


@dataclasses.dataclass(frozen=True)
class FastWeightBackbone(Backbone):
    """See the module docstring; the layout of the stream is that of `Backbone`."""

    @property
    def global_block(self) -> nn.Module:
        return GlobalBlock(self.config, self.policy)

    @property
    def layers(self) -> tuple[int, int, int, int]:
        fast = self.config.fast
        d = self.config.width // fast.heads
        return self.config.depth, fast.heads, d, fast.hidden_multiple * d

    def initial_weights(self, params: Any, batch: int) -> FastWeights:
        """The learned initial weights, for every scene."""
        ttt = params["global_blocks"]["ttt"]
        return FastWeights(
            *(
                jnp.broadcast_to(w[:, None], (w.shape[0], batch, *w.shape[1:]))
                for w in (ttt["w0"], ttt["w1"], ttt["w2"])
            )
        )

    def mixing_bytes(self, views: int, tokens: int) -> tuple[int, int]:
        """Fast weights of a layer before and after a step, gradients and the step's temporaries.

        Where weights are carried from window to window, those of all layers as well.
        """
        del views, tokens
        layers, heads, d, m = self.layers
        layer = 3 * heads * d * m * 4
        return (6 if self.config.window is None else 6 + 2 * layers) * layer, 0

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
            block, w, n, tap = xs
            frame = self._frame(block, stream[0], grid)
            w, y = self._stream(block, w, n, frame, valid[0] if padded else None, windows)
            return (put(stream, y, 0), put(taps, self._features(frame, y), 0, tap)), w

        def layer(carry: tuple[Array, Array], xs: Any) -> tuple[tuple[Array, Array], FastWeights]:
            stream, taps = carry
            block, w, n, tap = xs

            def write(i: Any, carry: tuple[Array, Gradients]) -> tuple[Array, Gradients]:
                stream, total = carry
                y = self._frame(block, get(stream, i), grid)
                g = self._gradients(block, w, y, get(tokens_valid, i))
                return put(stream, y, i), jax.tree.map(jnp.add, total, g)

            def read(i: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
                stream, taps = carry
                frame = get(stream, i)
                y = self._read(block, w, frame)
                return put(stream, y, i), put(taps, self._features(frame, y), i, tap)

            zero = Gradients(*[jnp.zeros((b, *w.w0.shape[1:]))] * 3)
            stream, total = fori_chunks(chunks, write, (stream, zero))
            total = Gradients(*self._devices.sum(jnp.stack(total)))
            w = self._step(w, total, n, seen if padded else None)
            return fori_chunks(chunks, read, (stream, taps)), w

        blocks = (params["frame_blocks"], params["global_blocks"])
        init = (x, self._empty_taps(x))
        body = layer if windows == 1 else in_windows
        (x, taps), weights = lax.scan(
            self._recomputed(body), init, (blocks, weights, norms, self._tap_indices)
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
            block, w, tap = xs
            frame = self._frame(block, stream[0], grid)
            y = self._read(block, w, frame)
            return (y[None], put(taps, self._features(frame, y), 0, tap)), None

        blocks = (params["frame_blocks"], params["global_blocks"])
        init = (x, self._empty_taps(x))
        return lax.scan(self._recomputed(layer), init, (blocks, weights, self._tap_indices))[0][1]

    def patch_queries_and_keys(self, block: Any, x: Float[Array, "b v t d"]) -> tuple[Array, Array]:
        """Queries and keys of tokens in one global block, of unit length."""
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        found = apply(self.global_block, block, tokens, method="patch_queries_and_keys")
        queries, keys = (y.reshape(x.shape) for y in found)
        return queries, keys

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
