"""ZipMap's backbone: global blocks with fast weights that take one gradient step per window.

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
    """Backbone with fast weights in its global blocks."""

    @property
    def global_block(self) -> nn.Module:
        return GlobalBlock(self.config, self.policy)

    @property
    def layers(self) -> tuple[int, int, int, int]:
        fast = self.config.fast
        d = self.config.width // fast.heads
        return self.config.depth, fast.heads, d, fast.hidden_multiple * d

    def initial_weights(self, params: Any, batch: int) -> FastWeights:
        """The learned initial weights, repeated for every scene."""
        ttt = params["global_blocks"]["ttt"]
        return FastWeights(
            *(
                jnp.broadcast_to(w[:, None], (w.shape[0], batch, *w.shape[1:]))
                for w in (ttt["w0"], ttt["w1"], ttt["w2"])
            )
        )

    def mixing_bytes(self, views: int, tokens: int) -> tuple[int, int]:
        """Bytes of a layer's weights before and after a step, its gradients and temporaries; zero.

        Models with windows also hold the weights of all layers, before and after.
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
        """See `Backbone.zip_views`; the fast weights of a layer take one step per window."""
        chunks, b, c, p, _ = x.shape
        tokens_valid = jnp.repeat(valid.reshape(chunks, b, c), p, axis=-1)
        count = self._devices.sum(jnp.sum(valid, axis=(0, 2), dtype=jnp.int32))
        has_views = count > 0

        def layer_in_windows(
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
            w = self._step(w, total, n, has_views if padded else None)
            return fori_chunks(chunks, read, (stream, taps)), w

        body = layer if windows == 1 else layer_in_windows
        (x, taps), weights = self._scan(body, params, x, weights, norms)
        return weights, taps, x

    def read_views(
        self,
        params: Any,
        weights: FastWeights,
        x: Float[Array, "n b c p d"],
        grid: tuple[int, int],
    ) -> Float[Array, "n 4 b c p d2"]:
        """Run all layers over one chunk (n = 1) with constant fast weights."""

        def layer(carry: tuple[Array, Array], xs: Any) -> tuple[tuple[Array, Array], None]:
            stream, taps = carry
            block, w, tap = xs
            frame = self._frame(block, stream[0], grid)
            y = self._read(block, w, frame)
            return (y[None], put(taps, self._features(frame, y), 0, tap)), None

        return self._scan(layer, params, x, weights)[0][1]

    def patch_queries_and_keys(self, block: Any, x: Float[Array, "b v t d"]) -> tuple[Array, Array]:
        """Queries and keys of tokens in one global block, of unit length."""
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        pair = apply(self.global_block, block, tokens, method="patch_queries_and_keys")
        queries, keys = (y.reshape(x.shape) for y in pair)
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
        """Run a global block window by window: write, step, read; `valid` None = all views."""

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
        has_views: Bool[Array, " b"] | None,
    ) -> FastWeights:
        """Step the fast weights of the scenes that have views; None = all scenes."""
        stepped = step(
            weights,
            total,
            norms,
            steps=self.config.fast.newton_schulz_steps,
            precision=self.policy.newton_schulz,
            axis=self.views_axis,
        )
        if has_views is None:
            return stepped
        # A step without tokens would renormalise, which is not quite the identity.
        changed = has_views[:, None, None, None]
        return jax.tree.map(lambda new, old: jnp.where(changed, new, old), stepped, weights)
