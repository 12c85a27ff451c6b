"""Band-limited procedural surface patterns.

All patterns are functions of a plane (u, v) in metres; detail finer than a pixel's footprint on the
surface, in metres, is faded out to avoid aliasing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.procedural.dice import Dice

PATTERNS = ("noise", "checker", "stripes", "bricks", "tiles", "dots", "rings", "veins", "patchwork")
_OCTAVES = 4
_LACUNARITY = 2.3
COLOURS = 3


class Material(NamedTuple):
    """Parameters of a surface, every field [...] except the colours [3, ...] (linear light).

    Attributes:
      base, accent, stain: the two colours of the pattern, and the colour of large soft stains.
      pattern: index into `PATTERNS`.
      scale_u, scale_v: pattern cells per metre. cos, sin: rotation of the pattern.
      offset_u, offset_v: shift in cells.
      warp: bending of the pattern by noise, in cells.
      noise_scale: cells per metre of the coarsest noise octave. noise: relative strength.
      variation: relative brightness change between cells. line: width of joints in cells.
      specular, gloss: strength and exponent of highlights.
    """

    base: Array
    accent: Array
    stain: Array
    pattern: Array
    scale_u: Array
    scale_v: Array
    cos: Array
    sin: Array
    offset_u: Array
    offset_v: Array
    warp: Array
    noise_scale: Array
    noise: Array
    variation: Array
    line: Array
    specular: Array
    gloss: Array

    def pack(self) -> Float[Array, "m k"]:
        """Pack the fields into one row per material, colours first."""
        colours = jnp.concatenate(self[:COLOURS], axis=0)
        return jnp.concatenate([colours, jnp.stack(self[COLOURS:])]).T

    @classmethod
    def unpack(cls, rows: Float[Array, "k p"]) -> Material:
        """Unpack gathered rows of `pack`."""
        colours = [rows[3 * i : 3 * i + 3] for i in range(COLOURS)]
        return cls(*colours, *rows[3 * COLOURS :])


def random_materials(dice: Dice, scale: Float[Array, " m"]) -> Material:
    """Draw materials.

    Args:
      dice: random numbers.
      scale: typical number of pattern cells per metre, by material.
    """
    count = len(scale)

    def uniform(low: float, high: float) -> Array:
        return dice.uniform((count,), low, high)

    base, accent, stain = (_random_colour(dice, count) for _ in range(COLOURS))
    # Half of the patterns are shades of one colour.
    shade = 2.0 ** uniform(-2.5, 1.5)
    accent = jnp.where(dice.chance(0.5, (count,))[None], base * shade[None], accent)
    angle = jnp.where(uniform(0, 1) < 0.5, 0.0, uniform(0, 2 * np.pi))
    size = scale * 2.0 ** uniform(-1, 1)
    return Material(
        base=base,
        accent=accent,
        stain=stain,
        pattern=jnp.floor(uniform(0, len(PATTERNS) - 1e-3)),
        scale_u=size,
        scale_v=size * 2.0 ** uniform(0, 1.2),
        cos=jnp.cos(angle),
        sin=jnp.sin(angle),
        offset_u=uniform(0, 50),
        offset_v=uniform(0, 50),
        warp=0.6 * uniform(0, 1) ** 3,
        noise_scale=scale * uniform(0.4, 1.2),
        noise=uniform(0.25, 0.9),
        variation=uniform(0, 0.8),
        line=uniform(0.04, 0.16),
        specular=0.35 * uniform(0, 1) ** 2,
        gloss=2.0 ** uniform(3, 6),
    )


def _random_colour(dice: Dice, count: int) -> Float[Array, "3 m"]:
    """Draw linear colours: two thirds brown or grey, others of any hue; log-uniform brightness."""
    hue, saturation, value = dice.uniform((3, count))
    earthy = dice.chance(0.65, (count,))
    hue = jnp.where(earthy, 0.02 + 0.14 * hue, hue)
    wheel = jnp.stack([jnp.cos(2 * np.pi * (hue - shift)) for shift in (0.0, 1 / 3, 2 / 3)])
    vivid = jnp.where(earthy, 0.7, 0.95) * saturation
    return jnp.clip((1.0 + vivid[None] * wheel) * (0.04 * 18.0**value)[None], 0.015, 0.9)


def _hash(x: Array, y: Array) -> Array:
    """Pseudo-random uint32 of integer lattice coordinates."""
    h = x.astype(jnp.int32).astype(jnp.uint32) * np.uint32(0x8DA6B343)
    h = h ^ (y.astype(jnp.int32).astype(jnp.uint32) * np.uint32(0xD8163841))
    h = (h ^ (h >> 15)) * np.uint32(0x2C1B3C6D)
    h = (h ^ (h >> 12)) * np.uint32(0x297A2D39)
    return h ^ (h >> 15)


def _unit(h: Array) -> Array:
    """Map uint32 to [0, 1)."""
    return (h >> 8).astype(jnp.int32).astype(jnp.float32) * np.float32(2.0**-24)


def _value_noise(x: Array, y: Array) -> Array:
    """Smooth noise in [-1, 1] with unit cells."""
    i, j = jnp.floor(x), jnp.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy)
    a, b = _unit(_hash(i, j)), _unit(_hash(i + 1, j))
    c, d = _unit(_hash(i, j + 1)), _unit(_hash(i + 1, j + 1))
    low, high = a + (b - a) * fx, c + (d - c) * fx
    return 2.0 * (low + (high - low) * fy) - 1.0


def _noise(u: Array, v: Array, footprint: Array) -> tuple[Array, Array]:
    """Coarsest octave, and the sum of all octaves that the footprint resolves, about in [-1, 1]."""
    coarse = total = _value_noise(u, v)
    amplitude, frequency = 1.0, 1.0
    for octave in range(1, _OCTAVES):
        amplitude, frequency = amplitude * 0.65, frequency * _LACUNARITY
        # Octaves are rotated relative to each other, which hides the lattice.
        c, s = np.cos(1.1 * octave), np.sin(1.1 * octave)
        x = frequency * (float(c) * u - float(s) * v) + 17.7 * octave
        y = frequency * (float(s) * u + float(c) * v) + 41.3 * octave
        fade = jnp.clip(2.0 - 2.0 * frequency * footprint, 0.0, 1.0)
        total = total + amplitude * fade * _value_noise(x, y)
    return coarse, total * 0.7


def _wave(x: Array, width: Array) -> Array:
    """Square wave of period 2 in [-1, 1]; its edges have width `width`, and large ones fade it."""
    triangle = jnp.abs(x - 2.0 * jnp.floor(0.5 * x) - 1.0) - 0.5
    return jnp.clip(2.0 * triangle / width, -1.0, 1.0)


def _joints(fx: Array, fy: Array, line: Array, width: Array) -> Array:
    """Return 1 inside a cell and 0 on the joint around it."""
    edge = jnp.minimum(0.5 - jnp.abs(fx - 0.5), 0.5 - jnp.abs(fy - 0.5))
    inside = jnp.clip((edge - line) / width + 0.5, 0.0, 1.0)
    fade = jnp.clip(2.0 - 2.0 * width, 0.0, 1.0)
    return 1.0 + fade * (inside - 1.0)


def albedo(material: Material, u: Array, v: Array, footprint: Array) -> Float[Array, "3 p"]:
    """Compute surface colours in linear light.

    Args:
      material: parameters, every field [p] (colours [3, p]).
      u, v: position on the surface in metres [p].
      footprint: size of a pixel on the surface in metres [p].
    """
    m = material
    coarse, noise = _noise(
        u * m.noise_scale + m.offset_u, v * m.noise_scale, footprint * m.noise_scale
    )
    x = (m.cos * u - m.sin * v) * m.scale_u + m.offset_u + m.warp * coarse
    y = (m.sin * u + m.cos * v) * m.scale_v + m.offset_v + m.warp * noise
    width = jnp.maximum(footprint * jnp.maximum(m.scale_u, m.scale_v), 0.02)
    is_brick = m.pattern == PATTERNS.index("bricks")
    row = jnp.floor(y)
    shifted = x + jnp.where(is_brick, 0.5 * (row - 2.0 * jnp.floor(0.5 * row)), 0.0)
    column = jnp.floor(shifted)
    cell = _hash(column, row)
    fx, fy = shifted - column, y - row
    random, other = _unit(cell), _unit(cell * np.uint32(0x9E3779B1))

    joints = _joints(fx, fy, m.line, width)
    spot = jnp.sqrt((fx - 0.5) ** 2 + (fy - 0.5) ** 2) - (0.15 + 0.28 * random)
    radius = jnp.sqrt(x * x + 0.04 * y * y + 1e-6) + 0.5 * noise
    select = [m.pattern == i for i in range(len(PATTERNS))]
    mix = jnp.select(
        select,
        [
            0.5 + 0.5 * jnp.clip(2.0 * noise, -1.0, 1.0),
            0.5 + 0.5 * _wave(x, width) * _wave(y, width),
            0.5 + 0.5 * _wave(x, width),
            joints,
            joints,
            jnp.clip(spot / width + 0.5, 0.0, 1.0),
            0.5 + 0.5 * _wave(2.0 * radius, 2.0 * width + 0.3),
            0.5 + 0.5 * _wave(3.0 * noise, 4.0 * width + 0.3),
            jnp.clip(1.5 * other - 0.25, 0.0, 1.0),
        ],
    )
    resolved = jnp.clip(2.0 - 2.0 * width, 0.0, 1.0)
    stripes_or_soft = select[0] | select[2] | select[6] | select[7]
    per_cell = jnp.where(stripes_or_soft, 0.0, m.variation * resolved)
    gain = (1.0 + per_cell * (random - 0.5)) * (1.0 + 0.6 * m.noise * noise)
    stain = 0.7 * jnp.clip(0.8 * coarse + per_cell * (other - 0.4), 0.0, 1.0)
    colour = m.base + mix[None] * (m.accent - m.base)
    colour = colour + stain[None] * (m.stain - colour)
    return jnp.clip(colour * jnp.maximum(gain, 0.15)[None], 0.01, 0.95)
