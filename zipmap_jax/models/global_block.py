"""The global block of ZipMap, with fast weights in place of attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax.numpy as jnp

from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.nn.config import Policy
from zipmap_jax.nn.fast_weights import FastWeightLayer, FastWeights, Gradients
from zipmap_jax.nn.layers import LayerScale, Mlp, layer_norm

if TYPE_CHECKING:
    from jaxtyping import Array, Float


class GlobalBlock(nn.Module):
    """`x += ls1 * fast_weights(norm1(x)); x += ls2 * mlp(norm2(x))`, in two parts.

    `gradients` computes the update of the fast weights, `read` applies updated weights.
    """

    config: ZipMapConfig
    policy: Policy

    def setup(self) -> None:
        c, f = self.config, self.config.fast
        formats: dict[str, Any] = dict(dtype=self.policy.compute, precision=self.policy.precision)
        self.norm1 = layer_norm(1e-5)
        self.norm2 = layer_norm(1e-5)
        self.ls1 = LayerScale(c.layer_scale_init)
        self.ls2 = LayerScale(c.layer_scale_init)
        self.mlp = Mlp(c.mlp_ratio * c.width, c.width, **formats)
        self.ttt = FastWeightLayer(
            c.width, f.heads, f.hidden_multiple, f.base_lr, f.gate, f.bias, **formats
        )

    def __call__(self, x: Array) -> Array:
        """Use every parameter, for initialisation."""
        self.gradients(x, self.ttt.initial(x.shape[0]))
        return self.read(x, self.ttt.initial(x.shape[0]))

    def gradients(
        self, x: Float[Array, "b n d"], weights: FastWeights, valid: Array | None = None
    ) -> Gradients:
        """Gradients of the fast weights, summed over the tokens."""
        return self.ttt.gradients(self.norm1(x), weights, valid)

    def patch_queries_and_keys(self, x: Float[Array, "b n d"]) -> tuple[Array, Array]:
        """Queries and keys of unit length, [b, n, d], heads concatenated."""
        x = self.norm1(x)
        heads = (self.ttt.queries(x), self.ttt.keys(x)[0])
        scale = self.config.fast.heads**-0.5
        queries, keys = (scale * jnp.moveaxis(y, 1, 2).reshape(x.shape) for y in heads)
        return queries, keys

    def read(self, x: Float[Array, "b n d"], weights: FastWeights) -> Float[Array, "b n d"]:
        """The residual stream after the whole block."""
        y = self.ttt.read(self.norm1(x), weights)
        x = x + self.ls1(y.astype(jnp.float32))
        return x + self.ls2(self.mlp(self.norm2(x)).astype(jnp.float32))
