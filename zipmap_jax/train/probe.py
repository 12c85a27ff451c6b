"""A linear map that reads rays off the tokens of patches: trained along, never shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from zipmap_jax.losses.patch_rays import NUMBERS
from zipmap_jax.nn.layers import apply, layer_norm

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.train.config import TrainConfig

NAME = "probe"


def with_probe(params: dict[str, Any], config: TrainConfig) -> dict[str, Any]:
    """Parameters of the model and, if the objective asks for rays, those of the map, at zero."""
    if not config.loss.rays:
        return params
    layers, width = len(config.model.taps), 2 * config.model.width
    zero = {"kernel": jnp.zeros((layers, width, NUMBERS)), "bias": jnp.zeros((layers, NUMBERS))}
    return params | {NAME: zero}


def without_probe(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of the model alone."""
    return {name: leaf for name, leaf in params.items() if name != NAME}


def read_rays(params: Any, patches: Float[Array, "l b v p c"]) -> Float[Array, "b v l p 6"]:
    """What each patch says of its ray, from normalised features of the tapped layers."""
    probe = params[NAME]
    x = apply(layer_norm(1e-5, affine=False), {}, patches)
    said = jnp.einsum("lbvpc,lco->bvlpo", x, probe["kernel"])
    return said + probe["bias"][None, None, :, None]
