"""Multi-head self-attention and the choice of its implementation."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zipmap_jax.nn.layers import layer_norm, torch_uniform
from zipmap_jax.nn.rope import apply_rope

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

# Score matrices above this size are computed one head at a time.
_SCORE_BYTES = 512 * 2**20


class SelfAttention(nn.Module):
    """Multi-head softmax attention within one sequence, with its projections.

    Attributes:
      heads: number of heads.
      qk_norm: whether queries and keys pass a layer norm (epsilon 1e-5), shared by the heads.
      dtype, precision: dtype of the matmul operands, and `jax.lax` precision of the products.
      implementation: "auto", "xla" or "cudnn", see `Policy.attention`.
      kernel_init: initialiser of the projections.
    """

    heads: int
    qk_norm: bool = False
    dtype: Any = jnp.float32
    precision: Any = "highest"
    implementation: str = "auto"
    kernel_init: Any = torch_uniform

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n t c"],
        rope: tuple[Array | np.ndarray, Array | np.ndarray] | None = None,
        valid: Bool[Array, "n t"] | None = None,
    ) -> Float[Array, "n t c"]:
        """Attention output after the projection.

        Args:
          x: tokens of n sequences.
          rope: cosines and sines of `rope_tables`, [t, d]; None = no rotary embedding.
          valid: tokens that are attended to; None = all.

        Returns:
          Updates of the tokens in `dtype`, without the residual.
        """
        n, t, c = x.shape
        dense = functools.partial(
            nn.Dense, dtype=self.dtype, precision=self.precision, kernel_init=self.kernel_init
        )
        qkv = dense(3 * c, name="qkv")(x).reshape(n, t, 3, self.heads, c // self.heads)
        q, k, v = jnp.moveaxis(qkv, (2, 3), (0, 2))  # each [n, heads, t, d]
        if self.qk_norm:
            q = layer_norm(1e-5, name="q_norm")(q)
            k = layer_norm(1e-5, name="k_norm")(k)
        if rope is not None:
            cos, sin = (jnp.asarray(table)[None, None] for table in rope)
            q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
        q, k = q.astype(self.dtype), k.astype(self.dtype)
        y = attend(q, k, v, valid, precision=self.precision, implementation=self.implementation)
        y = jnp.moveaxis(y, 1, 2).reshape(n, t, c)
        return dense(c, name="proj")(y)


def attend(
    q: Float[Array, "n k t d"],
    k: Float[Array, "n k t d"],
    v: Float[Array, "n k t d"],
    valid: Bool[Array, "n t"] | None = None,
    *,
    precision: Any = "highest",
    implementation: str = "auto",
) -> Float[Array, "n k t d"]:
    """Scaled dot-product attention, `softmax(q k^T / sqrt(d)) v`.

    Args:
      q, k, v: queries, keys and values.
      valid: tokens that are attended to; None = all.
      precision: `jax.lax` precision of the products.
      implementation: "auto", "xla" or "cudnn", see `Policy.attention`; a mask needs XLA.

    Returns:
      One value per query.
    """
    if _use_cudnn(implementation, q.dtype) and valid is None:
        return _cudnn_attend(q, k, v)
    score_bytes = q.shape[0] * q.shape[1] * q.shape[2] ** 2 * 4
    if score_bytes <= _SCORE_BYTES or q.shape[1] == 1:
        return _xla_attend(q, k, v, valid, precision)
    one_head = functools.partial(_xla_attend, valid=valid, precision=precision)
    heads_first = [jnp.moveaxis(a, 1, 0)[:, :, None] for a in (q, k, v)]
    y = lax.map(lambda qkv: one_head(*qkv), tuple(heads_first))
    return jnp.moveaxis(y[:, :, 0], 0, 1)


def _xla_attend(
    q: Array, k: Array, v: Array, valid: Bool[Array, "n t"] | None, precision: Any
) -> Array:
    scores = jnp.einsum(
        "nhqd,nhkd->nhqk", q, k, precision=precision, preferred_element_type=jnp.float32
    )
    scores = scores * q.shape[-1] ** -0.5
    if valid is not None:
        scores = jnp.where(valid[:, None, None, :], scores, -1e30)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("nhqk,nhkd->nhqd", weights, v, precision=precision)


def _cudnn_attend(q: Array, k: Array, v: Array) -> Array:
    """cuDNN flash attention; its backward pass needs a multiple of 8 tokens, hence the padding."""
    n, _, t, _ = q.shape
    pad = -t % 8
    q, k, v = (
        jnp.pad(jnp.moveaxis(a, 1, 2), ((0, 0), (0, pad), (0, 0), (0, 0))) for a in (q, k, v)
    )
    lengths = jnp.full((n,), t, jnp.int32) if pad else None
    y = jax.nn.dot_product_attention(
        q, k, v, implementation="cudnn", query_seq_lengths=lengths, key_value_seq_lengths=lengths
    )
    return jnp.moveaxis(y[:, :t], 2, 1)


def _use_cudnn(implementation: str, dtype: Any) -> bool:
    if implementation == "auto":
        return dtype in (jnp.bfloat16, jnp.float16) and _cudnn_works()
    return implementation == "cudnn"


@functools.cache
def _cudnn_works() -> bool:
    """Whether cuDNN attention runs on the default device, forward and backward."""
    if jax.default_backend() != "gpu":
        return False
    probe = jnp.ones((1, 2, 21, 64), jnp.bfloat16)
    try:
        with jax.ensure_compile_time_eval():
            jax.block_until_ready(jax.grad(lambda q: _cudnn_attend(q, probe, probe).sum())(probe))
    except Exception as error:
        warnings.warn(f"cuDNN attention failed, so XLA computes it: {error}", stacklevel=2)
        return False
    return True
