"""Random rooms and open grounds: objects, materials and lights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp

from zipmap_jax.procedural.placement import place_objects
from zipmap_jax.procedural.primitives import Primitives
from zipmap_jax.procedural.space import Space
from zipmap_jax.procedural.texture import random_materials

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.procedural.config import ProceduralConfig
    from zipmap_jax.procedural.dice import Dice

FLOOR, CEILING, WALL_X, WALL_Y, SKY, OBJECTS = range(6)
"""Rows of the material table; object i uses row OBJECTS + i."""
_SUN_DISTANCE = 1e3
_OPEN = 1e6  # distance of the walls and the ceiling of open ground


class Layout(NamedTuple):
    """Geometry, materials and lights of one scene.

    Attributes:
      objects: geometry.
      materials: packed `Material` table.
      indoor: True for a closed room.
      lamps: positions of the main and the second light; outdoors the first is the distant sun.
      lamp_colours: unobstructed light of the lamps at the middle of the scene.
      ambient_up, ambient_down: ambient light on surfaces that face up and down.
      horizon: colour of haze and of the sky near the horizon.
      haze: extinction per metre.
    """

    objects: Primitives
    materials: Float[Array, "m k"]
    indoor: Bool[Array, ""]
    lamps: Float[Array, "2 3"]
    lamp_colours: Float[Array, "2 3"]
    ambient_up: Float[Array, " 3"]
    ambient_down: Float[Array, " 3"]
    horizon: Float[Array, " 3"]
    haze: Float[Array, ""]


def random_layout(
    dice: Dice, config: ProceduralConfig, space: Space, keep_clear: Float[Array, "p 3"]
) -> Layout:
    """Draw a scene.

    Args:
      dice: random numbers.
      config: numbers of objects, density and clearance.
      space: extent of the scene.
      keep_clear: camera centres, which objects avoid.
    """
    centre, rotation, half, active = place_objects(dice, config, space, keep_clear)
    room_high = jnp.append(space.half, space.height)
    room_low = jnp.append(space.half, 0.0)
    open_high = jnp.array([_OPEN, _OPEN, _OPEN])
    open_low = jnp.array([_OPEN, _OPEN, 0.0])
    objects = Primitives(
        centre=centre,
        rotation=rotation,
        half=half,
        active=active,
        room_low=-jnp.where(space.indoor, room_low, open_low),
        room_high=jnp.where(space.indoor, room_high, open_high),
    )
    return _light(dice, space, objects, _materials(dice, space.indoor, half))


def _materials(
    dice: Dice, indoor: Bool[Array, ""], half: Float[Array, "n 3"]
) -> Float[Array, "m k"]:
    """Draw a material per surface; small objects have fine patterns."""
    shell = jnp.where(
        indoor, jnp.array([2.5, 1.2, 1.8, 1.8, 1.0]), jnp.array([1.2, 1.0, 1.0, 1.0, 0.8])
    )
    middle = jnp.sort(half, axis=-1)[:, 1]
    scale = jnp.concatenate([shell, jnp.clip(1.6 / middle, 0.6, 9.0)])
    material = random_materials(dice, scale)
    row = jnp.arange(len(scale))
    pale = (row == CEILING) | (row == WALL_X)
    material = material._replace(
        base=jnp.where(pale[None], 0.35 + 0.6 * material.base, material.base)
    )
    cloud = jnp.array([0.75, 0.77, 0.8])

    def sky(value: float, field: Array) -> Array:
        return jnp.where(row == SKY, value, field)

    def sky_colour(value: Array, field: Array) -> Array:
        return jnp.where((row == SKY)[None], value[:, None], field)

    return material._replace(
        base=sky_colour(jnp.array([0.16, 0.32, 0.7]), material.base),
        accent=sky_colour(cloud, material.accent),
        stain=sky_colour(cloud, material.stain),
        pattern=sky(0.0, material.pattern),
        noise=sky(0.2, material.noise),
        variation=sky(0.0, material.variation),
        specular=sky(0.0, material.specular),
    ).pack()


def _light(dice: Dice, space: Space, objects: Primitives, materials: Float[Array, "m k"]) -> Layout:
    """Draw the lights of a scene."""
    indoor = space.indoor
    ground = dice.uniform((2, 2), -0.7, 0.7) * space.half[None]
    lamps = jnp.concatenate([ground, space.height * dice.uniform((2, 1), 0.7, 0.95)], -1)
    azimuth, elevation = dice.angle(), dice.uniform((), 0.35, 1.3)
    level = jnp.cos(elevation)
    sun = jnp.stack([jnp.cos(azimuth) * level, jnp.sin(azimuth) * level, jnp.sin(elevation)])
    lamps = jnp.where(indoor, lamps, lamps.at[0].set(_SUN_DISTANCE * sun))
    tint = 1.0 + dice.uniform((2, 1), -0.2, 0.25) * jnp.array([[1.0, 0.1, -1.0]])
    power = dice.uniform((2, 1), 0.5, 1.3)
    power = power.at[1].multiply(0.6 * (indoor & dice.chance(0.6)))
    level = dice.uniform((4,))
    ambient = 0.15 + 0.35 * level[0]
    blue = 1.0 + 0.12 * level[1] * jnp.where(indoor, 0.0, 1.0) * jnp.array([-1.0, 0.0, 1.0])
    return Layout(
        objects=objects,
        materials=materials,
        indoor=indoor,
        lamps=lamps,
        lamp_colours=tint * power,
        ambient_up=ambient * blue,
        ambient_down=ambient * (0.45 + 0.3 * level[2]) * jnp.ones(3),
        horizon=jnp.array([0.6, 0.68, 0.78]) * (0.7 + 0.5 * level[3]),
        haze=jnp.where(indoor, 0.0, 0.002 + 0.012 * level[2] ** 2),
    )
