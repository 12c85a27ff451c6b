"""Placement of objects on the floor, on walls and on each other, at a distance from the cameras.

Each object has several candidate positions, of which the first at the required distance from every
protected point is used; an object without such a candidate is left out. The computation is the same
for every scene, so it compiles to one program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.procedural.primitives import distance

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int

    from zipmap_jax.procedural.config import ProceduralConfig
    from zipmap_jax.procedural.dice import Dice
    from zipmap_jax.procedural.space import Space

_CANDIDATES = 8
_FLOOR, _WALL, _TILTED, _FAR, _STACKED = range(5)
_BOX, _SPHERE, _CYLINDER = range(3)

# By role: kind of placement, minimum and maximum half extents in metres.
_INDOOR = {
    "picture": (_WALL, (0.01, 0.2, 0.2), (0.05, 0.9, 0.6)),
    "furniture": (_FLOOR, (0.2, 0.25, 0.15), (0.6, 0.7, 0.5)),
    "cabinet": (_FLOOR, (0.2, 0.2, 0.5), (0.45, 0.5, 1.0)),
    "tilted": (_TILTED, (0.1, 0.1, 0.1), (0.35, 0.3, 0.3)),
    "stacked": (_STACKED, (0.06, 0.06, 0.06), (0.22, 0.2, 0.25)),
    "ball": (_STACKED, (0.1, 0.1, 0.08), (0.35, 0.3, 0.3)),
    "column": (_FLOOR, (0.08, 0.08, 0.2), (0.35, 0.3, 1.0)),
}
_OUTDOOR = {
    "picture": (_FAR, (1.5, 1.5, 1.2), (5.0, 5.0, 4.5)),
    "furniture": (_FLOOR, (0.3, 0.3, 0.3), (1.2, 1.0, 0.8)),
    "cabinet": (_FLOOR, (0.3, 0.3, 0.8), (1.2, 1.2, 1.8)),
    "tilted": (_TILTED, (0.2, 0.2, 0.2), (0.8, 0.7, 0.7)),
    "stacked": (_STACKED, (0.15, 0.15, 0.15), (0.5, 0.45, 0.45)),
    "ball": (_STACKED, (0.25, 0.25, 0.25), (1.4, 1.3, 1.2)),
    "column": (_FLOOR, (0.12, 0.12, 0.5), (0.4, 0.4, 1.8)),
}
_BOX_ROLES = (
    "furniture", "picture", "stacked", "cabinet", "tilted", "picture",
    "furniture", "furniture", "picture", "tilted", "stacked", "furniture",
)  # fmt: skip


_Clear: TypeAlias = "tuple[Float[Array, 'p 3'], float]"
"""Points to keep clear, and the clearance in metres."""


class _Plan(NamedTuple):
    """Constants of the objects; all but the kind have an indoor and an outdoor row."""

    kind: np.ndarray
    mode: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _plan(config: ProceduralConfig) -> _Plan:
    boxes = [_BOX_ROLES[i % len(_BOX_ROLES)] for i in range(config.boxes)]
    roles = boxes + ["ball"] * config.spheres + ["column"] * config.cylinders
    table = [[rules[role] for role in roles] for rules in (_INDOOR, _OUTDOOR)]
    return _Plan(
        kind=np.repeat(np.arange(3), config.counts),
        mode=np.array([[mode for mode, _, _ in row] for row in table]),
        low=np.array([[low for _, low, _ in row] for row in table], np.float32),
        high=np.array([[high for _, _, high in row] for row in table], np.float32),
    )


def place_objects(
    dice: Dice, config: ProceduralConfig, space: Space, keep_clear: Float[Array, "p 3"]
) -> tuple[Float[Array, "n 3"], Float[Array, "n 3 3"], Float[Array, "n 3"], Bool[Array, " n"]]:
    """Draw the objects of a scene.

    Args:
      dice: random numbers.
      config: numbers of objects, density and clearance.
      space: extent of the scene.
      keep_clear: camera centres; objects keep the clearance from them.

    Returns:
      Centres, local-to-world rotations, half extents (in metres) and presence of all objects.
    """
    plan = _plan(config)
    n = len(plan.kind)
    row = jnp.where(space.indoor, 0, 1)
    mode = jnp.asarray(plan.mode)[row]
    low, high = jnp.asarray(plan.low)[row], jnp.asarray(plan.high)[row]
    half = low * (high / low) ** dice.uniform((n, 3))
    # The room bounds the size of indoor objects.
    room = jnp.append(0.35 * space.half, 0.42 * space.height)
    half = jnp.where(space.indoor, jnp.minimum(half, room[None]), half)
    upright, free = _random_rotations(dice, n)
    rotation = jnp.where((mode == _TILTED)[:, None, None], free, upright)
    kind = jnp.asarray(plan.kind)

    stacked = np.flatnonzero(plan.mode[0] == _STACKED)
    clear = (keep_clear, config.clearance)
    centre, rotation, active = jax.vmap(_stand, in_axes=(0, 0, 0, 0, 0, None, None))(
        dice.uniform((n, 5, _CANDIDATES)), kind, mode, rotation, half, space, clear
    )
    present = dice.chance(config.density, (n,))
    active = active & present

    # Supports: upright boxes, and outdoors cylinders (tree trunks).
    flat_box = (kind == _BOX) & (mode == _FLOOR)
    supports = jnp.where(space.indoor, flat_box, (kind == _CYLINDER) | flat_box) & active
    rows = jnp.asarray(stacked)
    top, ok = jax.vmap(_stack, in_axes=(0, 0, 0, 0, None, None))(
        dice.uniform((len(stacked), 4, _CANDIDATES)),
        kind[rows],
        rotation[rows],
        half[rows],
        (supports, centre, rotation, half),
        clear,
    )
    centre = centre.at[rows].set(jnp.where(ok[:, None], top, centre[rows]))
    active = active.at[rows].set((active[rows] | ok) & present[rows])
    return centre, rotation, half, active


def _random_rotations(dice: Dice, n: int) -> tuple[Float[Array, "n 3 3"], Float[Array, "n 3 3"]]:
    """Draw rotations about the vertical, a third of them axis-aligned, and arbitrary rotations."""
    yaw = jnp.where(dice.chance(0.35, (n,)), 0.0, dice.angle((n,)))
    q = dice.normal((n, 4))
    w, x, y, z = (q / jnp.linalg.norm(q, axis=-1, keepdims=True)).T
    free = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return _about_vertical(yaw), jnp.stack([jnp.stack(row, -1) for row in free], -2)


def _about_vertical(yaw: Float[Array, "*n"]) -> Float[Array, "*n 3 3"]:
    c, s, zero, one = jnp.cos(yaw), jnp.sin(yaw), jnp.zeros_like(yaw), jnp.ones_like(yaw)
    rows = [[c, -s, zero], [s, c, zero], [zero, zero, one]]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def _first_clear(
    kind: Int[Array, ""],
    candidates: Float[Array, "c 3"],
    rotation: Float[Array, "3 3"],
    half: Float[Array, " 3"],
    clear: _Clear,
) -> tuple[Float[Array, " 3"], Bool[Array, ""]]:
    """Return the first candidate position at the clearance, and whether there is one."""
    points, clearance = clear
    gap = jax.vmap(lambda c: distance(kind, c, rotation, half, points).min())(candidates)
    is_clear = gap > clearance
    return candidates[jnp.argmax(is_clear)], is_clear.any()


def _stand(
    rolls: Float[Array, "5 c"],
    kind: Int[Array, ""],
    mode: Int[Array, ""],
    rotation: Float[Array, "3 3"],
    half: Float[Array, " 3"],
    space: Space,
    clear: _Clear,
) -> tuple[Float[Array, " 3"], Float[Array, "3 3"], Bool[Array, ""]]:
    """Place one object on the floor, against a wall or beyond the cameras."""
    reach = jnp.abs(rotation) @ half  # half extents of the axis-aligned bounding box
    limit = jnp.maximum(space.half - jnp.where(space.indoor, reach[:2], 0.0), 0.0)
    ground = 2.0 * rolls[:2].T - 1.0
    low = jnp.full(_CANDIDATES, reach[2])
    on_floor = jnp.concatenate([ground * limit[None], low[:, None]], -1)

    # Distant ring: buildings beyond the arena of the cameras.
    angle = 2.0 * np.pi * rolls[2]
    radius = 1.42 * (space.half[0] + jnp.maximum(half[0], half[1])) + 1.5 + 15.0 * rolls[3]
    far = jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle), low], -1)

    # Pictures: thin along local x, which points out of the room.
    facing = _about_vertical(0.5 * np.pi * jnp.floor(4.0 * rolls[4, 0]))
    out, along = facing[:2, 0], jnp.abs(facing[:2, 1])
    low = jnp.minimum(half[2] + 0.1, 0.5 * space.height)
    up = low + rolls[2] * jnp.maximum(space.height - 0.1 - half[2] - low, 0.0)
    flat = (out * (space.half - half[0]))[None] + ground * (along * (space.half - half[1]))[None]
    on_wall = jnp.concatenate([flat, up[:, None]], -1)

    rotation = jnp.where(mode == _WALL, facing, rotation)
    candidates = jnp.where(mode == _WALL, on_wall, jnp.where(mode == _FAR, far, on_floor))
    centre, is_clear = _first_clear(kind, candidates, rotation, half, clear)
    return centre, rotation, is_clear


def _stack(
    rolls: Float[Array, "4 c"],
    kind: Int[Array, ""],
    rotation: Float[Array, "3 3"],
    half: Float[Array, " 3"],
    supports: tuple[Array, Array, Array, Array],
    clear: _Clear,
) -> tuple[Float[Array, " 3"], Bool[Array, ""]]:
    """Place one object on a random support; a share of the objects stays on the floor."""
    usable, centres, rotations, halves = supports
    # Each candidate has a random support among the usable ones.
    order = jnp.cumsum(usable)
    rank = jnp.floor(rolls[0] * order[-1]) + 1
    chosen = jnp.argmax(order[None] >= rank[:, None], -1)
    spread = (1.4 * rolls[1:3].T - 0.7) * halves[chosen, :2]
    local = jnp.concatenate([spread, jnp.zeros((_CANDIDATES, 1))], -1)
    top = centres[chosen] + jnp.einsum("cij,cj->ci", rotations[chosen], local, precision="highest")
    height = halves[chosen, 2] + (jnp.abs(rotation) @ half)[2]
    position, is_clear = _first_clear(kind, top.at[:, 2].add(height), rotation, half, clear)
    return position, is_clear & usable.any() & (rolls[3, 0] < 0.7)
