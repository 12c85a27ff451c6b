"""Colour loss of queried views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Float


def colour_loss(
    rgb: Float[Array, "b q h w 3"], images: Float[Array, "b q h w 3"]
) -> Float[Array, ""]:
    """Mean squared error of colours in [0, 1].

    Args:
      rgb: rendered colours.
      images: true colours.

    Returns:
      The loss.

    Source: ZipMap (arXiv 2603.04385), novel-view loss.
    """
    return jnp.mean(jnp.square(rgb - images))


def peak_signal_to_noise(squared_error: Float[Array, ""]) -> Float[Array, ""]:
    """Peak signal-to-noise ratio of colours in [0, 1], `-10 log10(mse)`.

    Args:
      squared_error: mean squared error.

    Returns:
      PSNR in decibels, at most 80.
    """
    return -10.0 * jnp.log10(jnp.maximum(squared_error, 1e-8))
