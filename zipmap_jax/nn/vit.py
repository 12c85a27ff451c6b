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
_VIT_INIT = nn.initializers.truncated_normal(0.02, lower=-100, upper=100)  # 2 either way


class PatchProjection(nn.Module):
    """Cut images into patches and project each linearly: a convolution with stride = kernel."""

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
    """Patch projection of rays, then layer norm."""

    width: int
    patch: int
    dtype: Any = jnp.float32
    precision: Any = "highest"

    @nn.compact
    def __call__(self, rays: Float[Array, "n h w r"]) -> Float[Array, "n p c"]:
        x = PatchProjection(self.width, self.patch, self.dtype, self.precision, name="proj")(rays)
        return layer_norm(1e-5, name="norm")(x)


class ImageEmbedder:
    """DINOv2 ViT with registers, returning normalised patch tokens; pure functions of parameters.

    References: M. Oquab et al., DINOv2 (2023); T. Darcet et al., Vision
    transformers need registers (2023).
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
        """Random parameters."""
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
            "mask_token": jnp.zeros((1, c.width)),  # Parity: never read, kept for round trips.
            "pos_embed": _VIT_INIT(keys[3], (1, 1 + grid, c.width)),
            "blocks": init_stacked(self.block, keys[4], c.depth, tokens),
            "norm": self.norm.init(keys[4], tokens)["params"],
        }

    def __call__(self, params: Any, images: Float[Array, "n h w 3"]) -> Float[Array, "n p c"]:
        """Patch tokens of images in [0, 1]."""
        mean, std = (jnp.asarray(v)[None, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
        x = (images.astype(jnp.float32) - mean) / std
        return self.embed_normalised(params, x)[:, 1 + self.config.registers :]

    def embed_normalised(self, params: Any, x: Float[Array, "n h w 3"]) -> Float[Array, "n t c"]:
        """All output tokens (class, registers, patches) of already normalised images."""
        x = self.with_special_tokens(params, x)
        if self.config.depth == 0:
            return x
        x = run_stacked(self.block, params["blocks"], x, remat=self.remat)
        return apply(self.norm, params["norm"], x)

    def with_special_tokens(self, params: Any, x: Float[Array, "n h w 3"]) -> Float[Array, "n t c"]:
        """Projected patches with positions, behind the class and register tokens."""
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
        """Class and patch position embedding, resized by antialiased bicubic interpolation."""
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
