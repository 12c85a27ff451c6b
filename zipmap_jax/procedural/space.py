"""The room or the open ground of a procedural scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.procedural.config import ProceduralConfig
    from zipmap_jax.procedural.dice import Dice


class Space(NamedTuple):
    """The extent of a scene in metres, drawn before cameras and objects.

    Attributes:
      indoor: True for a closed room.
      half: half sides of the room, or of the square that contains outdoor objects.
      arena: half sides of the rectangle that contains the cameras.
      height: height of the room, or of the tallest outdoor objects.
    """

    indoor: Bool[Array, ""]
    half: Float[Array, " 2"]
    arena: Float[Array, " 2"]
    height: Float[Array, ""]


def random_space(dice: Dice, config: ProceduralConfig) -> Space:
    """Draw the kind and the size of a scene."""
    indoor = dice.chance(config.indoor)
    room = dice.uniform((2,), *config.room_half)
    arena = jnp.full((2,), dice.uniform((), *config.arena_half))
    return Space(
        indoor=indoor,
        half=jnp.where(indoor, room, 1.3 * arena),
        arena=jnp.where(indoor, room - jnp.minimum(0.5, 0.2 * room), arena),
        height=dice.uniform((), *config.room_height),
    )
