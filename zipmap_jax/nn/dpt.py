"""Dense prediction head (DPT): fusion of four tapped token maps, coarse to fine, into an image.

References: R. Ranftl et al., "Vision Transformers for Dense Prediction" (2021), as used by VGGT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.nn.layers import layer_norm, scaled_uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Array, Float


def position_grid(channels: int, rows: int, cols: int, aspect: float) -> tuple[Array, Array]:
    """Sinusoidal embedding of normalised pixel coordinates, as its column and row halves.

    Coordinates cover a rectangle of the image's aspect ratio with half-diagonal one. The halves are
    returned separately, because the full map would be a large constant of the program.

    Args:
      channels: c, channels of the embedding.
      rows, cols: size of the map.
      aspect: W / H of the image.

    Returns:
      The column half [cols, c/2] and the row half [rows, c/2].
    """
    diagonal = (aspect**2 + 1) ** 0.5
    omega = 100.0 ** (-np.arange(channels // 4) / (channels / 4))

    def half(extent: float, count: int) -> Array:
        span = extent / diagonal * (count - 1) / count
        angle = np.linspace(-span, span, count, dtype=np.float32)[:, None].astype(float) * omega
        wave = np.concatenate([np.sin(angle), np.cos(angle)], 1).astype(np.float32)
        return jnp.asarray(wave * np.float32(0.1))

    return half(aspect, cols), half(1.0, rows)


def add_position(x: Float[Array, "n h w c"], aspect: float) -> Float[Array, "n h w c"]:
    """Adds `position_grid` to a map: its column half to the first channels, then its row half.

    Args:
      x: the map.
      aspect: W / H of the image.

    Returns:
      The map with positions.
    """
    _, rows, cols, channels = x.shape
    by_col, by_row = position_grid(channels, rows, cols, aspect)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first + by_col[None, None], second + by_row[None, :, None]], -1)


def resize_aligned(x: Float[Array, "n h w c"], size: tuple[int, int]) -> Float[Array, "n y x c"]:
    """Bilinear resize with aligned corners: source coordinate i (n_in - 1) / (n_out - 1).

    Args:
      x: the map.
      size: (rows, columns) of the result.

    Returns:
      The resized map.
    """
    for axis, count in zip((1, 2), size, strict=True):
        length = x.shape[axis]
        if length == count:
            continue
        scale = np.float32((length - 1) / (count - 1)) if count > 1 else np.float32(0)
        source = np.arange(count, dtype=np.float32) * scale
        low = np.minimum(source.astype(int), length - 1)
        high = np.minimum(low + 1, length - 1)
        shape = [1, 1, 1, 1]
        shape[axis] = count
        weight = jnp.asarray((source - low).reshape(shape), x.dtype)
        below, above = jnp.take(x, low, axis=axis), jnp.take(x, high, axis=axis)
        x = below * (1 - weight) + above * weight
    return x


class _PatchUpsample(nn.Module):
    """Transposed convolution with stride = kernel: maps every pixel to a k x k patch."""

    features: int
    factor: int
    dtype: Any
    precision: Any
    kernel_init: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n y x d"]:
        n, rows, cols, channels = x.shape
        k, d = self.factor, self.features
        kernel = self.param("kernel", self.kernel_init, (k, k, channels, d))
        bias = self.param("bias", nn.initializers.zeros, (d,))
        y = jnp.einsum(
            "nrsc,abcd->nrasbd",
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            precision=self.precision,
        )
        return y.reshape(n, rows * k, cols * k, d) + bias.astype(self.dtype)[None, None, None]


class _ResidualUnit(nn.Module):
    """`conv2(relu(conv1(r))) + r` with r = relu(x)."""

    features: int
    conv: Any

    @nn.compact
    def __call__(self, x: Float[Array, "n h w f"]) -> Float[Array, "n h w f"]:
        # Parity: the shortcut carries relu(x), because the reference applies the ReLU in place.
        x = jax.nn.relu(x)
        y = jax.nn.relu(self.conv(self.features, (3, 3), name="conv1")(x))
        return self.conv(self.features, (3, 3), name="conv2")(y) + x


class _Fusion(nn.Module):
    """Adds the finer level to the coarser result and resizes the sum."""

    features: int
    conv: Any

    @nn.compact
    def __call__(
        self, x: Array, size: tuple[int, int], finer: Array | None = None
    ) -> Float[Array, "n y x f"]:
        if finer is not None:
            x = x + _ResidualUnit(self.features, self.conv, name="res1")(finer)
        x = _ResidualUnit(self.features, self.conv, name="res2")(x)
        # A 1x1 convolution commutes with interpolation and is cheaper before it.
        return resize_aligned(self.conv(self.features, (1, 1), name="out_conv")(x), size)


class DenseHead(nn.Module):
    """DPT head: raw channels of every pixel from the patch tokens of four layers.

    Attributes:
      channels: output channels; the confidence, if any, is the last.
      features, out_channels, hidden: channels of the levels, see `DenseHeadConfig`.
      patch: side of a patch in pixels.
      dtype, precision: dtype of the operands, and `jax.lax` precision of the products.
      init_gain, output_scale: see `DenseHeadConfig`.
    """

    channels: int
    features: int = 256
    out_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    hidden: int = 32
    patch: int = 14
    dtype: Any = jnp.float32
    precision: Any = "highest"
    init_gain: float = 3**-0.5
    output_scale: float = 1.0

    @nn.compact
    def __call__(
        self, taps: Sequence[Float[Array, "n p d"]], grid: tuple[int, int]
    ) -> Float[Array, "n h w o"]:
        """Raw channels of each pixel.

        Args:
          taps: patch tokens of the four tapped layers.
          grid: (rows, columns) of patches.

        Returns:
          Channels before the activation, at `patch` times the size of the grid.
        """
        aspect = grid[1] / grid[0]

        def conv(
            features: int, size: tuple[int, int], scale: float = 1.0, **kwargs: Any
        ) -> nn.Conv:
            return nn.Conv(
                features,
                size,
                padding=[(s // 2, s // 2) for s in size],
                dtype=self.dtype,
                precision=self.precision,
                kernel_init=scaled_uniform(self.init_gain * scale),
                **kwargs,
            )

        levels = self._levels(taps, grid, aspect, conv)
        sizes = [(level.shape[1], level.shape[2]) for level in levels]
        x = _Fusion(self.features, conv, name="refine4")(levels[3], sizes[2])
        x = _Fusion(self.features, conv, name="refine3")(x, sizes[1], levels[2])
        x = _Fusion(self.features, conv, name="refine2")(x, sizes[0], levels[1])
        double = (2 * sizes[0][0], 2 * sizes[0][1])
        x = _Fusion(self.features, conv, name="refine1")(x, double, levels[0])
        x = conv(self.features // 2, (3, 3), name="output_conv1")(x)
        x = resize_aligned(x, (grid[0] * self.patch, grid[1] * self.patch))
        x = add_position(x, aspect)
        x = jax.nn.relu(conv(self.hidden, (3, 3), name="output_conv2_0")(x))
        return conv(self.channels, (1, 1), self.output_scale, name="output_conv2_2")(x)

    def _levels(
        self, taps: Sequence[Array], grid: tuple[int, int], aspect: float, conv: Any
    ) -> list[Array]:
        """The four maps at 4x, 2x, 1x and 1/2 of the patch grid, with `features` channels each."""
        norm = layer_norm(1e-5, name="norm")
        formats: dict[str, Any] = dict(
            dtype=self.dtype,
            precision=self.precision,
            kernel_init=scaled_uniform(self.init_gain),
        )
        levels = []
        for j, (tap, width) in enumerate(zip(taps, self.out_channels, strict=True)):
            x = norm(tap).reshape(tap.shape[0], *grid, tap.shape[-1])
            x = add_position(conv(width, (1, 1), name=f"projects_{j}")(x), aspect)
            if j < 2:
                x = _PatchUpsample(width, 4 >> j, name=f"resize_{j}", **formats)(x)
            elif j == 3:
                x = conv(width, (3, 3), strides=(2, 2), name="resize_3")(x)
            name = f"layer{j + 1}_rn"
            levels.append(conv(self.features, (3, 3), use_bias=False, name=name)(x))
        return levels
