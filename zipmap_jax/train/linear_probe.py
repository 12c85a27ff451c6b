"""Linear probes of patch tokens, for auxiliary losses only: exported weights exclude them.

One predicts the rays of the patches of input views, one colour and depth of those of rendered
views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from zipmap_jax.losses import patch_rays, patch_views
from zipmap_jax.nn.layers import apply, layer_norm

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.train.config.schema import TrainConfig

NAME = "probe"
VIEWS = "view_probe"


def with_probe(params: dict[str, Any], config: TrainConfig) -> dict[str, Any]:
    """Add zero-initialised probes to the parameters, as far as the objective uses them."""
    layers, width = len(config.model.taps), 2 * config.model.width
    numbers = {}
    if config.loss.rays:
        numbers[NAME] = patch_rays.NUMBERS
    if config.loss.views:
        numbers[VIEWS] = patch_views.NUMBERS
    maps = {
        name: {"kernel": jnp.zeros((layers, width, n)), "bias": jnp.zeros((layers, n))}
        for name, n in numbers.items()
    }
    return params | maps


def without_probe(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the model."""
    return {name: leaf for name, leaf in params.items() if name not in (NAME, VIEWS)}


def read_rays(params: Any, patches: Float[Array, "l b v p c"]) -> Float[Array, "b v l p 6"]:
    """Predict the ray of each patch from the features of each tapped layer."""
    return _read(params[NAME], patches)


def read_patches(params: Any, patches: Float[Array, "l b v p c"]) -> Float[Array, "b v l p 4"]:
    """Predict colour and depth of each patch of a rendered view, likewise."""
    return _read(params[VIEWS], patches)


def _read(probe: Any, patches: Float[Array, "l b v p c"]) -> Float[Array, "b v l p n"]:
    x = apply(layer_norm(1e-5, affine=False), {}, patches)
    outputs = jnp.einsum("lbvpc,lco->bvlpo", x, probe["kernel"])
    return outputs + probe["bias"][None, None, :, None]
