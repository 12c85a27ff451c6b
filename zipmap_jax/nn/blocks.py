"""The pre-norm transformer block of DINOv2, the frame blocks and the camera trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.nn.attention import SelfAttention
from zipmap_jax.nn.layers import LayerScale, Mlp, apply, layer_norm, torch_uniform

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: `x += ls1 * attention(norm1(x)); x += ls2 * mlp(norm2(x))`.

    Attributes:
      heads: number of attention heads.
      epsilon: epsilon of the two layer norms.
      qk_norm: whether queries and keys are normalised.
      mlp_ratio: hidden units of the MLP per channel.
      layer_scale_init: initial value of the residual scales ls1 and ls2.
      dtype, precision: dtype of the matmul operands, and `jax.lax` precision of the products.
      attention: implementation of `SelfAttention`.
      kernel_init: initialiser of all linear layers.
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
        rope: tuple[Array | np.ndarray, Array | np.ndarray] | None = None,
        valid: Bool[Array, "n t"] | None = None,
    ) -> Float[Array, "n t c"]:
        """Tokens after the block, in fp32; the arguments are those of `SelfAttention`."""
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
    """Random parameters of `count` equal blocks.

    Args:
      block: the block.
      key: random key.
      count: number of blocks.
      *example: example arguments of the block.

    Returns:
      The parameters of one block, with a leading layer axis of length `count`.
    """
    return jax.vmap(lambda k: block.init(k, *example)["params"])(jax.random.split(key, count))


def run_stacked(block: nn.Module, params: Any, x: Array, *args: Any, remat: bool = False) -> Array:
    """Applies stacked blocks in sequence with `lax.scan`.

    Args:
      block: the block.
      params: parameters of `init_stacked`.
      x: input of the first block.
      *args: further arguments, equal for all blocks.
      remat: whether the backward pass stores only the input of each block and recomputes the rest.

    Returns:
      Output of the last block.
    """

    def one(x: Array, p: Any) -> tuple[Array, None]:
        return apply(block, p, x, *args), None

    step = jax.checkpoint(one, prevent_cse=False) if remat else one
    return jax.lax.scan(step, x, params)[0]
