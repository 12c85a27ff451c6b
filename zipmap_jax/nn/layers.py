"""Small layers of the embedder, the blocks and the heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Shaped


def over_channels(vector: Shaped[Array, " d"], ndim: int) -> Shaped[Array, "... d"]:
    """Reshapes a per-channel vector so that it broadcasts over activations.

    Args:
      vector: one number per channel.
      ndim: number of axes of the activations.

    Returns:
      The vector with leading axes of length 1.
    """
    return jnp.expand_dims(vector, tuple(range(ndim - 1)))


def layer_norm(epsilon: float, *, affine: bool = True, name: str | None = None) -> nn.LayerNorm:
    """Layer norm over the last axis in fp32, with the biased two-pass variance of PyTorch.

    Args:
      epsilon: summand to the variance.
      affine: whether the norm has a learned scale and bias.
      name: name of the module.

    Returns:
      The module.
    """
    return nn.LayerNorm(
        epsilon=epsilon,
        dtype=jnp.float32,
        use_bias=affine,
        use_scale=affine,
        use_fast_variance=False,
        name=name,
    )


def scaled_uniform(gain: float) -> Any:
    """Initialiser of uniform weights with standard deviation `gain / sqrt(fan_in)`.

    Args:
      gain: factor on the standard deviation.

    Returns:
      A Flax initialiser.
    """
    return nn.initializers.variance_scaling(gain**2, "fan_in", "uniform")


torch_uniform = scaled_uniform(3**-0.5)
"""PyTorch's default for Linear and Conv weights: U(-b, b) with b = 1 / sqrt(fan_in)."""


def apply(module: nn.Module, params: Any, *args: Any, method: str | None = None) -> Any:
    """Applies a module that has parameters and no other collections.

    Args:
      module: the module.
      params: its parameters.
      *args: arguments of the method.
      method: name of the method; None = `__call__`.

    Returns:
      The result of the method.
    """
    return module.apply({"params": params}, *args, method=method)


class LayerScale(nn.Module):
    """Multiplies each channel by a learned factor.

    Attributes:
      start: initial value of the factors.
    """

    start: float

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        gamma = self.param("gamma", nn.initializers.constant(self.start), (x.shape[-1],))
        return x * over_channels(gamma, x.ndim)


class Mlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between them.

    Attributes:
      hidden, out: output channels of the two layers.
      dtype, precision: dtype of the matmul operands, and `jax.lax` precision of the products.
      kernel_init: initialiser of the weights.
      out_scale: factor on the initial weights of the second layer.
      bias_init: initialiser of the second layer's bias.
    """

    hidden: int
    out: int
    dtype: Any = jnp.float32
    precision: Any = "highest"
    kernel_init: Any = torch_uniform
    out_scale: float = 1.0
    bias_init: Any = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... out"]:
        formats: dict[str, Any] = dict(dtype=self.dtype, precision=self.precision)
        x = nn.Dense(self.hidden, name="fc1", kernel_init=self.kernel_init, **formats)(x)
        x = jax.nn.gelu(x, approximate=False)
        return nn.Dense(
            self.out,
            name="fc2",
            kernel_init=lambda *args: self.out_scale * self.kernel_init(*args),
            bias_init=self.bias_init,
            **formats,
        )(x)
