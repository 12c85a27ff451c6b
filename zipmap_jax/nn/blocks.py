"""Pre-norm transformer block: DINOv2, frame blocks and the camera trunk are instances of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from zipmap_jax.nn.attention import SelfAttention
from zipmap_jax.nn.layers import LayerScale, Mlp, apply, layer_norm, torch_uniform

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


class TransformerBlock(nn.Module):
    """`x += ls1 * attention(norm1(x)); x += ls2 * mlp(norm2(x))`.

    Attributes:
      heads: attention heads.
      epsilon: of the two layer norms.
      qk_norm: normalise queries and keys.
      layer_scale_init: initial residual scale.
    """

    heads: int
    epsilon: float
    qk_norm: bool = False
    mlp_ratio: int = 4
    layer_scale_init: float = 0.01
    dtype: Any = jnp.float32
    precision: Any = "highest"
    attention: str = "auto"
    kernel_init: Any = torch_uniform

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n t c"],
        rope: tuple[Array, Array] | None = None,
        valid: Bool[Array, "n t"] | None = None,
    ) -> Float[Array, "n t c"]:
        width = x.shape[-1]
        formats: dict[str, Any] = dict(
            dtype=self.dtype, precision=self.precision, kernel_init=self.kernel_init
        )
        attention = SelfAttention(
            self.heads,
            self.qk_norm,
            implementation=self.attention,
            name="attn",
            **formats,
        )
        y = attention(layer_norm(self.epsilon, name="norm1")(x), rope, valid)
        x = x + LayerScale(self.layer_scale_init, name="ls1")(y.astype(jnp.float32))
        y = layer_norm(self.epsilon, name="norm2")(x)
        y = Mlp(self.mlp_ratio * width, width, name="mlp", **formats)(y)
        return x + LayerScale(self.layer_scale_init, name="ls2")(y.astype(jnp.float32))


def init_stacked(block: nn.Module, key: Array, count: int, *example: Any) -> Any:
    """Parameters of `count` equal blocks, stacked on a leading layer axis."""
    return jax.vmap(lambda k: block.init(k, *example)["params"])(jax.random.split(key, count))


def run_stacked(block: nn.Module, params: Any, x: Array, *args: Any, remat: bool = False) -> Array:
    """Apply stacked blocks one after the other with `lax.scan`.

    With `remat` the backward pass keeps the input of each block and computes the rest again.
    """

    def one(x: Array, p: Any) -> tuple[Array, None]:
        return apply(block, p, x, *args), None

    step = jax.checkpoint(one, prevent_cse=False) if remat else one
    return jax.lax.scan(step, x, params)[0]
