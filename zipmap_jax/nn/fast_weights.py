"""The test-time-training layer: a SwiGLU MLP whose weights are the state of the scene.

Every token is projected to a key k, a value v, a query q and three learning rates eta. The update
takes one ascent step on `sum_i <f(k_i), v_i>`, weighted per token and per matrix, orthogonalised by
Newton-Schulz and followed by a renormalisation of every column; reading evaluates `f(q)`:

    f(x) = (silu(x W0) * (x W2)) W1.

The gradient is a sum over tokens, so it can be accumulated over chunks of views or over devices
before the one non-linear step. Source: ZipMap (arXiv 2603.04385).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pallas_kernels import newton_schulz_update
from zipmap_jax.nn.layers import over_channels, torch_uniform

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

_EPSILON = 1e-5


class FastWeights(NamedTuple):
    """The three fast-weight matrices of one layer, or of all layers with a leading axis.

    Attributes:
      w0, w2: input matrices of the gate and of the linear branch.
      w1: output matrix.
    """

    w0: Float[Array, "*l b k d m"]
    w1: Float[Array, "*l b k m d"]
    w2: Float[Array, "*l b k d m"]


class Gradients(NamedTuple):
    """Gradient sums in fp32.

    Attributes:
      g0, g2: gradients of W0 and W2.
      g1: transposed gradient of W1, so that all three have the same shape.
    """

    g0: Float[Array, "b k d m"]
    g1: Float[Array, "b k d m"]
    g2: Float[Array, "b k d m"]


class ColumnNorms(NamedTuple):
    """Norms over the input axis, which every update restores.

    Attributes:
      n0, n1, n2: norms of the columns of W0, W1 and W2.
    """

    n0: Float[Array, "*l b k 1 m"]
    n1: Float[Array, "*l b k 1 d"]
    n2: Float[Array, "*l b k 1 m"]


def column_norms(weights: FastWeights) -> ColumnNorms:
    """Norms of the columns of the fast weights, under `stop_gradient`.

    Args:
      weights: the fast weights before the first update of a call.

    Returns:
      The norms that the updates of this call restore.
    """
    return ColumnNorms(
        *(jax.lax.stop_gradient(jnp.linalg.norm(w, axis=-2, keepdims=True)) for w in weights)
    )


def step(
    weights: FastWeights,
    gradients: Gradients,
    norms: ColumnNorms,
    *,
    steps: int = 5,
    precision: Any = "fp32",
    axis: str | None = None,
) -> FastWeights:
    """Fast-weight update `W <- renormalise(W + NewtonSchulz(G))` of the three matrices.

    There is no step size: Newton-Schulz determines the scale of the step, and the learning rates
    inside the gradient determine only the relative weights of the tokens.

    Args:
      weights: the fast weights W.
      gradients: the gradient sums G of all tokens.
      norms: column norms of the result.
      steps: Newton-Schulz iterations.
      precision: format of the iteration, see `Policy.newton_schulz`.
      axis: mesh axis whose devices hold equal gradients and may divide the work; None = no
        collectives.

    Returns:
      The updated fast weights.
    """
    return FastWeights(
        *newton_schulz_update(
            weights, gradients, norms, steps=steps, precision=precision, axis=axis
        )
    )


class _SliceableDense(nn.Module):
    """A linear layer that can compute a range of its outputs."""

    features: int
    use_bias: bool
    dtype: Any
    precision: Any

    @nn.compact
    def part(self, inputs: int, start: int = 0, stop: int | None = None) -> tuple[Array, Array]:
        """Kernel and bias of the outputs `start` to `stop`, in `dtype`; no bias = zeros."""
        kernel = self.param("kernel", torch_uniform, (inputs, self.features))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
        else:
            bias = jnp.zeros(self.features)
        return kernel[:, start:stop].astype(self.dtype), bias[start:stop].astype(self.dtype)

    def __call__(
        self, x: Float[Array, "... c"], start: int = 0, stop: int | None = None
    ) -> Float[Array, "... o"]:
        return self.product(x, *self.part(x.shape[-1], start, stop))

    def product(
        self, x: Float[Array, "... c"], kernel: Float[Array, "c o"], bias: Float[Array, " o"]
    ) -> Float[Array, "... o"]:
        y = jnp.matmul(x.astype(self.dtype), kernel, precision=self.precision)
        return y + over_channels(bias, y.ndim)


class FastWeightLayer(nn.Module):
    """Projections around the fast weights, which are arguments and results of the methods.

    Attributes:
      width: channels C of the token stream.
      heads: fast-weight heads; each has d = C / heads inputs and m = hidden_multiple * d units.
      hidden_multiple: hidden units per input channel.
      base_lr: learning rate at zero pre-activation.
      use_gate: whether the output is multiplied by silu(Linear(x)); one head only.
      bias: whether the query-key-value and output projections have a bias.
      dtype, precision: dtype of the matmul operands, and `jax.lax` precision of the products; sums
        over tokens and the residual stay fp32.

    Source: ZipMap (arXiv 2603.04385).
    """

    width: int
    heads: int = 1
    hidden_multiple: int = 2
    base_lr: float = 0.01
    use_gate: bool = True
    bias: bool = True
    dtype: Any = jnp.float32
    precision: Any = "highest"

    def setup(self) -> None:
        d, m = self.head_dim, self.hidden_multiple * self.head_dim
        normal = nn.initializers.normal
        self.w0 = self.param("w0", normal((2 / d) ** 0.5), (self.heads, d, m))
        self.w1 = self.param("w1", normal((2 / m) ** 0.5), (self.heads, m, d))
        self.w2 = self.param("w2", normal((2 / d) ** 0.5), (self.heads, d, m))
        formats: dict[str, Any] = dict(dtype=self.dtype, precision=self.precision)
        self.to_qkv = _SliceableDense(3 * self.width, self.bias, **formats)
        self.c_proj = _SliceableDense(self.width, self.bias, **formats)
        self.lr_fc = _SliceableDense(3 * self.heads, True, jnp.float32, self.precision)
        if self.use_gate:
            self.gate = _SliceableDense(self.width, True, **formats)
        self.o_norm = nn.RMSNorm(epsilon=1e-5, dtype=jnp.float32)

    @property
    def head_dim(self) -> int:
        """Inputs d of one head."""
        return self.width // self.heads

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """Output of the initial weights; uses every parameter, for initialisation."""
        self.keys(x)
        return self.read(x, self.initial(x.shape[0]))

    def initial(self, batch: int) -> FastWeights:
        """The learned initial weights.

        Args:
          batch: number of scenes.

        Returns:
          One copy per scene.
        """
        return FastWeights(
            *(jnp.broadcast_to(w[None], (batch, *w.shape)) for w in (self.w0, self.w1, self.w2))
        )

    def keys(self, x: Float[Array, "b n c"]) -> tuple[Array, Array, Array]:
        """Keys, values and learning rates of the tokens.

        Args:
          x: normalised tokens.

        Returns:
          Keys of unit length and values, [b, k, n, d]; learning rates, [3, b, k, n], in fp32.
        """
        kv = jax.nn.silu(self.to_qkv(x, self.width))
        k, v = jnp.split(kv, 2, axis=-1)
        # softplus(u + beta) equals base_lr at u = 0.
        beta = self.base_lr + math.log(-math.expm1(-self.base_lr))
        eta = jax.nn.softplus(self.lr_fc(x.astype(jnp.float32)) + beta)
        b, n, _ = eta.shape
        eta = eta.reshape(b, n, 3, self.heads).transpose(2, 0, 3, 1)
        return normalise(self._split(k)), self._split(v), eta

    def queries(self, x: Float[Array, "b n c"]) -> Float[Array, "b k n d"]:
        """Queries of the tokens.

        Args:
          x: normalised tokens.

        Returns:
          Unit-length queries.
        """
        return self._as_queries(self.to_qkv(x, 0, self.width))

    def queries_and_gate(self, x: Float[Array, "b n c"]) -> tuple[Array, Array]:
        """Queries and gate factors of the tokens, computed in one product.

        Args:
          x: normalised tokens.

        Returns:
          Unit-length queries, [b, k, n, d], and gate factors, [b, n, c].
        """
        parts = self.to_qkv.part(x.shape[-1], 0, self.width), self.gate.part(x.shape[-1])
        both = self.to_qkv.product(x, *(jnp.concatenate(p, -1) for p in zip(*parts, strict=True)))
        q, gate = jnp.split(both, 2, axis=-1)
        return self._as_queries(q), jax.nn.silu(gate)

    def gradients(
        self,
        x: Float[Array, "b n c"],
        weights: FastWeights,
        valid: Bool[Array, "b n"] | None = None,
    ) -> Gradients:
        """Gradient sums over tokens.

        Args:
          x: normalised tokens.
          weights: the fast weights at which the gradient is taken.
          valid: tokens that contribute; None = all.

        Returns:
          The gradients of the three matrices.
        """
        k, v, eta = self.keys(x)
        if valid is not None:
            eta = eta * valid[None, :, None, :]
        k = k.astype(self.dtype)
        g, h = self._hidden(k, weights)
        dh = self._matmul(v, jnp.swapaxes(weights.w1.astype(self.dtype), -1, -2))
        sigmoid = jax.nn.sigmoid(g)
        silu = g * sigmoid
        dm = dh * silu
        dg = dh * h * sigmoid * (1 + g * (1 - sigmoid))
        eta0, eta1, eta2 = eta[..., None]
        return Gradients(
            self._token_sum(k * eta0, dg),
            self._token_sum(v, silu * h * eta1),
            self._token_sum(k * eta2, dm),
        )

    def read(self, x: Float[Array, "b n c"], weights: FastWeights) -> Float[Array, "b n c"]:
        """Output of the layer: `f` of every token's query, normalised, gated and projected.

        Args:
          x: normalised tokens.
          weights: the fast weights.

        Returns:
          Updates of the tokens in `dtype`, without the residual.
        """
        q, gate = self.queries_and_gate(x) if self.use_gate else (self.queries(x), None)
        g, h = self._hidden(q.astype(self.dtype), weights)
        o = self.o_norm(self._matmul(jax.nn.silu(g) * h, weights.w1.astype(self.dtype)))
        o = jnp.moveaxis(o, 1, 2).reshape(x.shape)
        return self.c_proj(o if gate is None else o * gate)

    def _hidden(self, x: Float[Array, "b k n d"], weights: FastWeights) -> tuple[Array, Array]:
        """`x W0` and `x W2`, in one product."""
        both = jnp.concatenate([weights.w0, weights.w2], -1).astype(self.dtype)
        g, h = jnp.split(self._matmul(x, both), 2, axis=-1)
        return g, h

    def _as_queries(self, x: Float[Array, "b n c"]) -> Float[Array, "b k n d"]:
        return normalise(self._split(jax.nn.silu(x)))

    def _split(self, x: Float[Array, "b n c"]) -> Float[Array, "b k n d"]:
        b, n, _ = x.shape
        return jnp.moveaxis(x.reshape(b, n, self.heads, self.head_dim), 2, 1)

    def _matmul(self, x: Array, w: Array) -> Array:
        return jnp.matmul(x, w, precision=self.precision)

    def _token_sum(self, left: Array, right: Array) -> Float[Array, "b k i o"]:
        return jnp.einsum(
            "bkni,bkno->bkio",
            left.astype(self.dtype),
            right.astype(self.dtype),
            precision=self.precision,
            preferred_element_type=jnp.float32,
        )


def normalise(x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
    """Normalises vectors, `x / (||x|| + 1e-5)` in fp32, with a finite gradient at zero.

    Args:
      x: vectors along the last axis.

    Returns:
      Vectors of about unit length; zero stays zero.
    """
    x = x.astype(jnp.float32)
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return x / (norm + _EPSILON)
