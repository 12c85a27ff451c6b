"""Random camera paths and pinhole intrinsics."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from zipmap_jax.procedural.config import ProceduralConfig
    from zipmap_jax.procedural.dice import Dice

_MAX_ORBIT_STEP = 0.5  # radians between views
_MAX_WALK_STEP = 0.6  # metres between views
_MAX_PAN_STEP = 0.3  # radians between views

_Path: TypeAlias = "tuple[Float[Array, 'v 3'], Float[Array, 'v 3']]"


def look_at(
    position: Float[Array, "v 3"], target: Float[Array, "v 3"], roll: Float[Array, " v"]
) -> Float[Array, "v 4 4"]:
    """World-to-camera matrices (OpenCV axes) in a world whose z axis points up.

    Args:
      position: camera centres in metres.
      target: points on the viewing axes in metres.
      roll: rotations about the viewing axes in radians.
    """
    forward = target - position
    forward = forward / jnp.linalg.norm(forward, axis=-1, keepdims=True)
    up = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), forward.shape)
    right = jnp.cross(forward, up)
    right = right / jnp.linalg.norm(right, axis=-1, keepdims=True)
    down = jnp.cross(forward, right)
    c, s = jnp.cos(roll)[:, None], jnp.sin(roll)[:, None]
    rotation = jnp.stack([c * right + s * down, c * down - s * right, forward], axis=1)
    translation = -jnp.einsum("vij,vj->vi", rotation, position, precision="highest")
    top = jnp.concatenate([rotation, translation[..., None]], axis=-1)
    bottom = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0]), (len(position), 1, 4))
    return jnp.concatenate([top, bottom], axis=1)


def random_intrinsics(dice: Dice, config: ProceduralConfig) -> Float[Array, "v 3 3"]:
    """Draw centred pinhole intrinsics in pixels: one field of view per scene, and a small zoom."""
    low, high = np.radians(config.fov)
    fov = dice.uniform((), low, high)
    zoom = 1.0 + config.zoom * dice.uniform((config.views,), -1.0, 1.0) * dice.chance(0.3)
    half = 0.5 * max(config.height, config.width)
    focal = jnp.maximum(half / jnp.tan(0.5 * fov) * zoom, half / np.tan(0.5 * high))
    zero, one = jnp.zeros_like(focal), jnp.ones_like(focal)
    rows = [
        [focal, zero, one * (config.width / 2)],
        [zero, focal, one * (config.height / 2)],
        [zero, zero, one],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def random_path(
    dice: Dice, config: ProceduralConfig, arena: Float[Array, " 2"], ceiling: Float[Array, ""]
) -> tuple[Float[Array, "v 3"], Float[Array, "v 3"]]:
    """Draw camera centres and points on their viewing axes, in metres.

    Args:
      dice: random numbers.
      config: number of views, heights and weights of the kinds of path.
      arena: half sides of the rectangle, centred on the world origin, that contains the cameras.
      ceiling: maximum camera height.
    """
    ground = dice.uniform((2,), -0.35, 0.35) * arena
    focus = jnp.append(ground, dice.uniform((), 0.4, 1.3))
    paths = [build(dice, config, arena, focus) for build in (_orbit, _walk, _hand_held, _unordered)]
    running_sum = np.cumsum(config.path_weights, dtype=np.float32)
    kind = jnp.sum(dice.uniform((), 0.0, float(running_sum[-1])) > running_sum[:-1])
    position = jnp.stack([p for p, _ in paths])[kind]
    target = jnp.stack([t for _, t in paths])[kind]
    min_height, max_height = config.camera_height
    low = jnp.append(-arena, min_height)
    high = jnp.append(arena, jnp.minimum(max_height, ceiling))
    return jnp.clip(position, low[None], high[None]), target


def _progress(views: int) -> Float[Array, " v"]:
    return jnp.linspace(0.0, 1.0, views)


def _heights(dice: Dice, config: ProceduralConfig, bob: float) -> Float[Array, " v"]:
    """Draw heights: a base height and a slow rise or fall along the path."""
    low, high = config.camera_height
    base = dice.uniform((), low + 0.3, high)
    slope = bob * dice.normal() * (_progress(config.views) - 0.5)
    return base + slope + 0.03 * dice.normal((config.views,))


def _ring(
    angle: Float[Array, " v"],
    radius: Float[Array, " v"],
    arena: Float[Array, " 2"],
    focus: Float[Array, " 3"],
    height: Float[Array, " v"],
) -> Float[Array, "v 3"]:
    """Points around the focus; `radius` is in units of the arena's half sides."""
    x = focus[0] + arena[0] * radius * jnp.cos(angle)
    y = focus[1] + arena[1] * radius * jnp.sin(angle)
    return jnp.stack([x, y, height], -1)


def _orbit(dice: Dice, config: ProceduralConfig, arena: Array, focus: Array) -> _Path:
    """Draw a path around the focus, with viewing axes towards it."""
    steps = config.views - 1
    sweep = dice.uniform((), 0.5, 2 * np.pi)
    sweep = jnp.minimum(sweep, steps * dice.uniform((), 0.1, _MAX_ORBIT_STEP))
    sweep = sweep * jnp.where(dice.chance(0.5), 1.0, -1.0)
    s = _progress(config.views)
    angle = dice.angle() + sweep * s
    radius = dice.uniform((), 0.55, 0.95) * (1.0 + 0.15 * jnp.sin(6.0 * s + dice.angle()))
    position = _ring(angle, radius, arena, focus, _heights(dice, config, 0.6))
    return position, focus[None] + 0.1 * dice.normal((config.views, 3))


def _walk(dice: Dice, config: ProceduralConfig, arena: Array, focus: Array) -> _Path:
    """Draw a slightly curved path, with viewing axes ahead or to the side that turn slowly."""
    s = _progress(config.views) - 0.5
    heading = dice.angle()
    ahead = jnp.stack([jnp.cos(heading), jnp.sin(heading)])
    left = jnp.stack([-ahead[1], ahead[0]])
    room = 1.4 / jnp.max(jnp.abs(ahead) / arena)
    length = dice.uniform((), 0.4, 1.0) * room
    step = dice.uniform((), 0.15, _MAX_WALK_STEP)
    length = jnp.minimum(length, step * (config.views - 1))
    curve = 0.2 * length * dice.normal() * (2.0 * s) ** 2
    start = 0.2 * focus[:2] - 0.15 * room * ahead
    ground = start[None] + (length * s)[:, None] * ahead[None] + curve[:, None] * left[None]
    position = jnp.concatenate([ground, _heights(dice, config, 0.2)[:, None]], -1)
    turn = dice.uniform((), -0.9, 0.9)
    drift = min(0.8, _MAX_PAN_STEP * (config.views - 1))
    yaw = heading + turn + drift * dice.uniform((), -1.0, 1.0) * s
    return position, position + _direction(dice, yaw)


def _hand_held(dice: Dice, config: ProceduralConfig, arena: Array, focus: Array) -> _Path:
    """Draw jittered positions around one point, with viewing axes that pan over the scene."""
    s = _progress(config.views) - 0.5
    angle = jnp.full_like(s, dice.angle())
    radius = jnp.full_like(s, dice.uniform((), 0.5, 0.95))
    centre = _ring(angle, radius, arena, focus, _heights(dice, config, 0.1))
    spread = dice.uniform((), 0.04, 0.4)
    position = centre + spread * dice.normal((config.views, 3))
    pan = min(1.6, _MAX_PAN_STEP * (config.views - 1)) * dice.uniform((), -1.0, 1.0)
    inwards = jnp.arctan2(focus[1] - centre[:, 1], focus[0] - centre[:, 0])
    return position, position + _direction(dice, inwards + pan * s)


def _unordered(dice: Dice, config: ProceduralConfig, arena: Array, focus: Array) -> _Path:
    """Draw independent positions on one side of the focus, as in photo collections."""
    shape = (config.views,)
    span = dice.uniform((), 0.6, 2.2)
    angle = dice.angle() + span * dice.uniform(shape, -0.5, 0.5)
    radius = dice.uniform(shape, 0.5, 1.0)
    position = _ring(angle, radius, arena, focus, dice.uniform(shape, *config.camera_height))
    return position, focus[None] + 0.25 * dice.normal((*shape, 3))


def _direction(dice: Dice, yaw: Float[Array, " v"]) -> Float[Array, "v 3"]:
    """Draw viewing directions, 2 m long, of given yaw: a common pitch and a small one per view."""
    pitch = -0.2 + 0.1 * dice.normal() + 0.04 * dice.normal(yaw.shape)
    return 2.0 * jnp.stack([jnp.cos(yaw), jnp.sin(yaw), pitch], -1)
