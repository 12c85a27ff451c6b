"""Initial tokens of a view: camera, registers, and patches of pixels or rays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax.numpy as jnp

from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.nn.config import Policy
from zipmap_jax.nn.layers import apply
from zipmap_jax.nn.vit import ImageEmbedder, RayEmbedder

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


@dataclasses.dataclass(frozen=True)
class FirstTokens:
    """Pure functions of the embedders and special tokens; attributes as in `Network`."""

    config: ZipMapConfig
    policy: Policy
    remat: bool = False

    @property
    def embedder(self) -> ImageEmbedder:
        return ImageEmbedder(self.config.embedder, self.policy, self.remat)

    @property
    def ray_embedder(self) -> RayEmbedder:
        c, p = self.config, self.policy
        return RayEmbedder(c.width, c.patch, p.compute, p.precision)

    def init_images(self, keys: Iterator[Array]) -> dict[str, Any]:
        """Random parameters for the tokens of zipped views."""
        c, small = self.config, nn.initializers.normal(1e-6)
        return {
            "embedder": self.embedder.init(next(keys)),
            "camera_token": small(next(keys), (1, 2, 1, c.width)),
            "register_token": small(next(keys), (1, 2, c.registers, c.width)),
        }

    def init_rays(self, keys: Iterator[Array]) -> dict[str, Any]:
        """Random parameters for the tokens of rendered views."""
        c, small = self.config, nn.initializers.normal(1e-6)
        rays = jnp.zeros((1, c.patch, c.patch, c.ray_channels))
        return {
            "ray_cond_token": small(next(keys), (1, 1, c.special_tokens, c.width)),
            "ray_embed": self.ray_embedder.init(next(keys), rays)["params"],
        }

    def of_images(
        self, params: Any, images: Float[Array, "b c h w 3"], first: Bool[Array, "b c"]
    ) -> Float[Array, "b c p d"]:
        """Tokens of zipped views; `first` is True for the first view of a scene."""
        b, c = images.shape[:2]
        patches = self.embedder(params["embedder"], images.reshape(b * c, *images.shape[2:]))
        special = jnp.concatenate([params["camera_token"], params["register_token"]], 2)[0]
        # Row 0 is for the reference view, row 1 for all others.
        reference = first & (not self.config.affine_invariant)
        special = jnp.where(
            reference[..., None, None], special[None, None, 0], special[None, None, 1]
        )
        return jnp.concatenate([special, patches.reshape(b, c, *patches.shape[1:])], 2)

    def of_rays(self, params: Any, rays: Float[Array, "b c h w r"]) -> Float[Array, "b c p d"]:
        """Tokens of rendered views."""
        b, c = rays.shape[:2]
        flat = rays.reshape(b * c, *rays.shape[2:])
        patches = apply(self.ray_embedder, params["ray_embed"], flat)
        special = jnp.broadcast_to(
            params["ray_cond_token"], (b, c, *params["ray_cond_token"].shape[2:])
        )
        return jnp.concatenate([special, patches.reshape(b, c, *patches.shape[1:])], 2)
