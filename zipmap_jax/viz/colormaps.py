"""Colour maps, defined as paths through the OKLCh colour space."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

ColormapName = Literal["dusk", "spectrum"]
"""Names of the colour maps, see `apply_colormap`."""

# OKLab to linear sRGB: https://bottosson.github.io/posts/oklab (public domain).
_LAB_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def apply_colormap(
    values: Float[np.ndarray, "*s"], name: ColormapName = "dusk"
) -> UInt8[np.ndarray, "*s 3"]:
    """Colours of values in [0, 1]; values outside are clipped.

    Args:
      values: finite numbers.
      name: "dusk" (monotonic lightness, suitable for colour-blind readers and for grey print) or
        "spectrum" (blue to red, with more distinguishable steps).

    Returns:
      sRGB colours.

    Raises:
      UserError: the name is unknown.
    """
    index = np.clip(np.asarray(values) * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return colormap_table(name)[index]


def view_colors(count: int) -> UInt8[np.ndarray, "{count} 3"]:
    """One colour per view, from blue (first) to red (last).

    Args:
      count: number of views.

    Returns:
      sRGB colours.
    """
    return apply_colormap(np.linspace(0.0, 1.0, max(count, 1)), "spectrum")[:count]


@functools.cache
def colormap_table(name: ColormapName) -> UInt8[np.ndarray, "256 3"]:
    """The 256 entries of a colour map.

    Args:
      name: see `apply_colormap`.

    Returns:
      sRGB colours, read-only.

    Raises:
      UserError: the name is unknown.
    """
    t = np.linspace(0.0, 1.0, 256)
    if name == "dusk":
        lightness, hue, chroma = 0.16 + 0.78 * t, 278 + 172 * t, 0.05 + 0.16 * np.sin(np.pi * t)
    elif name == "spectrum":
        lightness, hue = 0.52 + 0.30 * np.sin(np.pi * t) ** 1.5 + 0.08 * t, 262 - 234 * t
        chroma = np.full_like(t, 0.14)
    else:
        raise ValueError(f"A colour map is 'dusk' or 'spectrum', not {name!r}; choose one of them.")
    table = np.round(255 * _oklch_to_srgb(lightness, chroma, np.radians(hue))).astype(np.uint8)
    table.setflags(write=False)
    return table


def _oklch_to_srgb(
    lightness: Float[np.ndarray, " n"],
    chroma: Float[np.ndarray, " n"],
    hue: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 3"]:
    """Converts OKLCh to sRGB in [0, 1], reducing each chroma to the sRGB gamut."""
    low, high = np.zeros_like(chroma), chroma.copy()
    for _ in range(24):
        middle = (low + high) / 2
        rgb = _oklch_to_linear(lightness, middle, hue)
        inside = ((rgb >= 0) & (rgb <= 1)).all(-1)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    linear = np.clip(_oklch_to_linear(lightness, low, hue), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _oklch_to_linear(
    lightness: Float[np.ndarray, " n"],
    chroma: Float[np.ndarray, " n"],
    hue: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 3"]:
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], -1)
    return (lab @ _LAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T
