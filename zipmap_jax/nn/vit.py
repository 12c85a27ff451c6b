"""The image embedder (DINOv2 with registers) and the ray embedder of state queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from zipmap_jax.nn.blocks import TransformerBlock, init_stacked, run_stacked
from zipmap_jax.nn.layers import apply, layer_norm, torch_uniform

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.nn.config import EmbedderConfig, Policy

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
# The bounds are in units of the standard deviation, so the weights are cut at -2 and 2.
_VIT_INIT = nn.initializers.truncated_normal(0.02, lower=-100, upper=100)


class PatchProjection(nn.Module):
    """Linear projection of the patches of images: a convolution with stride = kernel.

    Attributes:
      width: channels of a token.
      patch: side of a patch in pixels.
      dtype, precision: dtype of the operands, and `jax.lax` precision of the product.
    """

    width: int
    patch: int
    dtype: Any = jnp.float32
    precision: Any = "highest"

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p d"]:
        n, height, width, channels = x.shape
        s = self.patch
        kernel = self.param("kernel", torch_uniform, (s, s, channels, self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        x = x.reshape(n, height // s, s, width // s, s, channels).astype(self.dtype)
        y = jnp.einsum("nysxtc,stcd->nyxd", x, kernel.astype(self.dtype), precision=self.precision)
        return y.reshape(n, -1, self.width) + bias.astype(self.dtype)[None, None]


class RayEmbedder(nn.Module):
    """Patch projection of ray conditions, followed by a layer norm.

    Attributes:
      width: channels of a token.
      patch: side of a patch in pixels.
      dtype, precision: dtype of the operands, and `jax.lax` precision of the product.

    Source: ZipMap (arXiv 2603.04385), querying the scene state.
    """

    width: int
    patch: int
    dtype: Any = jnp.float32
    precision: Any = "highest"

    @nn.compact
    def __call__(self, rays: Float[Array, "n h w r"]) -> Float[Array, "n p c"]:
        x = PatchProjection(self.width, self.patch, self.dtype, self.precision, name="proj")(rays)
        return layer_norm(1e-5, name="norm")(x)


class ImageEmbedder:
    """DINOv2 vision transformer with registers: normalised patch tokens of single images.

    Args:
      config: size of the transformer.
      policy: number formats.
      remat: whether the backward pass recomputes the blocks.

    References: M. Oquab et al., DINOv2 (2023); T. Darcet et al., Vision transformers need
      registers (2023).
    """

    def __init__(self, config: EmbedderConfig, policy: Policy, remat: bool = False) -> None:
        self.config, self.remat = config, remat
        formats: dict[str, Any] = dict(dtype=policy.compute, precision=policy.precision)
        self.project = PatchProjection(config.width, config.patch, **formats)
        self.block = TransformerBlock(
            heads=config.heads,
            epsilon=1e-6,
            layer_scale_init=config.layer_scale_init,
            attention=policy.attention,
            kernel_init=_VIT_INIT,
            **formats,
        )
        self.norm = layer_norm(1e-6)

    def init(self, key: Array) -> dict[str, Any]:
        """Returns random parameters."""
        c = self.config
        keys = jax.random.split(key, 5)
        image = jnp.zeros((1, c.patch, c.patch, 3))
        params: dict[str, Any] = {"patch_proj": self.project.init(keys[0], image)["params"]}
        if c.depth == 0:
            return params
        tokens = jnp.zeros((1, 2, c.width))
        grid = (c.image_size // c.patch) ** 2
        small = nn.initializers.normal(1e-6)
        return params | {
            "cls_token": small(keys[1], (1, 1, c.width)),
            "register_tokens": small(keys[2], (1, c.registers, c.width)),
            # Parity: no function reads it; it is kept so that conversion loses no tensor.
            "mask_token": jnp.zeros((1, c.width)),
            "pos_embed": _VIT_INIT(keys[3], (1, 1 + grid, c.width)),
            "blocks": init_stacked(self.block, keys[4], c.depth, tokens),
            "norm": self.norm.init(keys[4], tokens)["params"],
        }

    def __call__(self, params: Any, images: Float[Array, "n h w 3"]) -> Float[Array, "n p c"]:
        """Patch tokens of images.

        Args:
          params: parameters of `init`.
          images: RGB in [0, 1]; height and width are multiples of the patch.

        Returns:
          One token per patch, row by row, in fp32.
        """
        mean, std = (jnp.asarray(v)[None, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
        x = (images.astype(jnp.float32) - mean) / std
        return self.embed_normalised(params, x)[:, 1 + self.config.registers :]

    def embed_normalised(self, params: Any, x: Float[Array, "n h w 3"]) -> Float[Array, "n t c"]:
        """All output tokens of normalised images.

        Args:
          params: parameters of `init`.
          x: images normalised by `IMAGE_MEAN` and `IMAGE_STD`.

        Returns:
          Class token, register tokens and patch tokens after the last norm, in fp32.
        """
        x = self.with_special_tokens(params, x)
        if self.config.depth == 0:
            return x
        x = run_stacked(self.block, params["blocks"], x, remat=self.remat)
        return apply(self.norm, params["norm"], x)

    def with_special_tokens(self, params: Any, x: Float[Array, "n h w 3"]) -> Float[Array, "n t c"]:
        """Input tokens of the first block.

        Args:
          params: parameters of `init`.
          x: images normalised by `IMAGE_MEAN` and `IMAGE_STD`.

        Returns:
          Class token, register tokens and projected patches, with their position embedding.
        """
        c = self.config
        n, height, width, _ = x.shape
        x = apply(self.project, params["patch_proj"], x).astype(jnp.float32)
        if c.depth == 0:
            return jnp.concatenate([jnp.zeros((n, 1 + c.registers, c.width)), x], 1)
        position = self.position_embedding(params, height, width)
        cls = jnp.broadcast_to(params["cls_token"] + position[:, :1], (n, 1, c.width))
        registers = jnp.broadcast_to(params["register_tokens"], (n, c.registers, c.width))
        return jnp.concatenate([cls, registers, x + position[:, 1:]], 1)

    def position_embedding(self, params: Any, height: int, width: int) -> Float[Array, "1 t c"]:
        """Position embedding of the class token and the patches of an image.

        The embedding of the patches is resized by antialiased bicubic interpolation.

        Args:
          params: parameters of `init`.
          height, width: size of the image in pixels.

        Returns:
          One vector per token; registers have none.
        """
        table, side = params["pos_embed"], self.config.image_size // self.config.patch
        rows, cols = height // self.config.patch, width // self.config.patch
        if (rows, cols) == (side, side):
            return table
        grid = table[:, 1:].reshape(1, side, side, -1)
        grid = jax.image.resize(
            grid,
            (1, rows, cols, grid.shape[-1]),
            method=jax.image.ResizeMethod.CUBIC_PYTORCH,
            antialias=True,
        )
        return jnp.concatenate([table[:, :1], grid.reshape(1, rows * cols, -1)], 1)
