"""LPIPS: distance of images in the features of VGG-16, weighted to match human judgement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from zipmap_jax.errors import UserError
from zipmap_jax.losses.robust import safe_norm

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.losses.config import LossConfig

DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions of the five stages of VGG-16."""
WIDTHS = (64, 128, 256, 512, 512)
"""Channels of the five stages of VGG-16."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""LPIPS's normalisation of images in [-1, 1]."""
EPSILON = 1e-10
"""Summand to the length of a feature vector."""
CHUNK = 4
"""Images per batch: the first stage at 518 x 518 pixels takes 34 MB per array and image."""


class Vgg(nn.Module):
    """Convolutional part of VGG-16: outputs of the last ReLU of every stage.

    Attributes:
      widths: channels of the stages.
      dtype: number format of the convolutions.

    Source: Simonyan and Zisserman, ICLR 2015, configuration D.
    """

    widths: tuple[int, ...] = WIDTHS
    dtype: Any = jnp.bfloat16

    @nn.compact
    def __call__(self, x: Float[Array, "n h w 3"]) -> list[Float[Array, "n h2 w2 c"]]:
        features = []
        for stage, (depth, width) in enumerate(zip(DEPTHS, self.widths, strict=True)):
            if stage:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for j in range(depth):
                conv = nn.Conv(width, (3, 3), dtype=self.dtype, name=f"stage{stage}_conv{j}")
                x = nn.relu(conv(x))
            features.append(x)
        return features


def perceptual_loss(
    params: Mapping[str, Any],
    rgb: Float[Array, "*b h w 3"],
    images: Float[Array, "*b h w 3"],
    dtype: Any = jnp.bfloat16,
) -> Float[Array, ""]:
    """Mean LPIPS distance of image pairs.

    With y, z the features of both images, of unit length over the channels, and w >= 0 the
    learned channel weights, the distance is
    `sum over stages of mean over pixels of sum_c w_c (y_c - z_c)^2`.

    Args:
      params: `vgg`, the parameters of `Vgg`, and `linear/stage0/kernel` ... `linear/stage4/kernel`,
        the weights w, [1, 1, c, 1].
      rgb: rendered colours in [0, 1].
      images: true colours in [0, 1], at least 16 x 16 pixels.
      dtype: number format of the convolutions, published as bfloat16; the rest is float32.

    Returns:
      The loss, whose gradient is finite everywhere and 0 at equal images.

    Raises:
      UserError: the images are too small for four poolings.

    Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric,
      CVPR 2018; version 0.1 with VGG.
    """
    height, width = rgb.shape[-3:-1]
    if min(height, width) < 16:
        raise UserError(
            f"LPIPS needs images of at least 16x16 pixels, got {height}x{width}; enlarge them, or "
            "leave its weights out."
        )
    pairs = tuple(x.reshape(-1, height, width, 3) for x in (rgb, images))

    @jax.checkpoint
    def distance(pair: tuple[Array, Array]) -> Float[Array, ""]:
        # Two calls instead of one batch, so that there is no backward pass of the true image.
        first, second = (_unit_features(params, image, dtype) for image in pair)
        terms = [
            jnp.mean(jnp.square(y - z) @ params["linear"][f"stage{i}"]["kernel"].reshape(-1))
            for i, (y, z) in enumerate(zip(first, second, strict=True))
        ]
        return jnp.sum(jnp.stack(terms))

    return jnp.mean(jax.lax.map(distance, pairs, batch_size=min(CHUNK, pairs[0].shape[0])))


def _unit_features(
    params: Mapping[str, Any], image: Float[Array, "h w 3"], dtype: Any
) -> list[Float[Array, "h2 w2 c"]]:
    """Features of all stages, of unit length at every pixel."""
    widths = tuple(params["linear"][f"stage{i}"]["kernel"].shape[2] for i in range(len(DEPTHS)))
    shift, scale = (jnp.asarray(v)[None, None] for v in (SHIFT, SCALE))
    x = ((2 * image - 1 - shift) / scale)[None]
    features: Any = Vgg(widths, dtype).apply({"params": params["vgg"]}, x)
    plain = [y[0].astype(jnp.float32) for y in features]
    # All features of a pixel may be zero, hence the safe norm.
    return [y / (safe_norm(y)[..., None] + EPSILON) for y in plain]


def colour_note(config: LossConfig) -> str:
    """Description of the colour loss for the log of a run.

    Args:
      config: weights of the losses.

    Returns:
      One line with the terms and, without LPIPS, the reason.
    """
    if config.perceptual_weights and config.perceptual:
        return f"colour loss: L2 + {config.perceptual:g} LPIPS of {config.perceptual_weights}"
    if not config.perceptual:
        return "colour loss: L2 only, as loss.perceptual is 0"
    return (
        f"colour loss: L2 only, without the published {config.perceptual:g} LPIPS: convert its "
        "weights (zipmap convert vgg16.pth --lpips vgg.pth --out FOLDER) and name the folder in "
        "loss.perceptual_weights"
    )
