"""Intersection of rays with boxes, ellipsoids, elliptic cylinders and the enclosing room.

Every object is a unit shape (cube |x| <= 1, ball, cylinder about z) under the affine map
`p_unit = matrix (p_world - centre)`, so all three shapes use the same local rays. Vectors are
component-first ([3, ...]), which keeps the pixel axis contiguous.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

_TINY = 1e-9
_Shape: TypeAlias = "Callable[[tuple[Array, ...], tuple[Array, ...]], tuple[Array, Array]]"


class Primitives(NamedTuple):
    """Objects of a scene (boxes, then spheres, then cylinders), and the enclosing room.

    Attributes:
      centre: object centres in the world.
      rotation: local-to-world rotations.
      half: half extents along the local axes.
      active: False removes an object.
      room_low, room_high: corners of the room; outdoors all but the floor are far away.
    """

    centre: Float[Array, "n 3"]
    rotation: Float[Array, "n 3 3"]
    half: Float[Array, "n 3"]
    active: Bool[Array, " n"]
    room_low: Float[Array, " 3"]
    room_high: Float[Array, " 3"]

    @property
    def matrix(self) -> Float[Array, "n 3 3"]:
        """World-to-unit-shape linear maps."""
        return jnp.swapaxes(self.rotation, -1, -2) / self.half[..., None]


def transform(
    matrix: Float[Array, "3 3 *p"], vector: Float[Array, "3 *q"] | tuple[Array, ...]
) -> tuple[Array, ...]:
    """Multiply vectors by one matrix or by a matrix per pixel."""
    x, y, z = vector
    return tuple(row[0] * x + row[1] * y + row[2] * z for row in matrix)


def _away_from_zero(x: Array) -> Array:
    return jnp.where(jnp.abs(x) < _TINY, _TINY, x)


def _slab(o: Array, d: Array) -> tuple[Array, Array]:
    """Entry and exit parameters t of |o + t d| <= 1."""
    inverse = 1.0 / _away_from_zero(d)
    middle, reach = -o * inverse, jnp.abs(inverse)
    return middle - reach, middle + reach


def _round(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """Entry and exit parameters t of a t^2 + 2 b t + c <= 0 (entry > exit: no solution)."""
    square = b * b - a * c
    root = jnp.sqrt(jnp.maximum(square, 0.0))
    inverse = 1.0 / jnp.maximum(a, _TINY)
    hit = square > 0.0
    return (
        jnp.where(hit, (-b - root) * inverse, jnp.inf),
        jnp.where(hit, (root - b) * inverse, -jnp.inf),
    )


def _box(o: tuple[Array, ...], d: tuple[Array, ...]) -> tuple[Array, Array]:
    (n0, f0), (n1, f1), (n2, f2) = (_slab(a, b) for a, b in zip(o, d, strict=True))
    return jnp.maximum(jnp.maximum(n0, n1), n2), jnp.minimum(jnp.minimum(f0, f1), f2)


def _sphere(o: tuple[Array, ...], d: tuple[Array, ...]) -> tuple[Array, Array]:
    a = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    return _round(a, b, o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - 1.0)


def _cylinder(o: tuple[Array, ...], d: tuple[Array, ...]) -> tuple[Array, Array]:
    a = d[0] * d[0] + d[1] * d[1]
    b = o[0] * d[0] + o[1] * d[1]
    n0, f0 = _round(a, b, o[0] * o[0] + o[1] * o[1] - 1.0)
    n1, f1 = _slab(o[2], d[2])
    return jnp.maximum(n0, n1), jnp.minimum(f0, f1)


def intersect(
    objects: Primitives,
    counts: tuple[int, int, int],
    origin: Float[Array, "3 *p"],
    direction: Float[Array, "3 p"],
) -> Float[Array, "n p"]:
    """Compute the ray parameter t at which `origin + t direction` enters each object.

    Args:
      objects: the scene.
      counts: number of boxes, spheres and cylinders.
      origin: ray origins in the world, one for all rays or one per ray.
      direction: ray directions in the world, of any length.

    Returns:
      t per object and ray; infinite where the ray misses the object or starts inside it.
    """

    def cast(shape: _Shape, matrix: Array, centre: Array, active: Array) -> Array:
        offset = tuple(component - c for component, c in zip(origin, centre, strict=True))
        near, far = shape(transform(matrix, offset), transform(matrix, direction))
        return jnp.where((near < far) & (near > 0.0) & active, near, jnp.inf)

    hits, start = [], 0
    for shape, count in zip((_box, _sphere, _cylinder), counts, strict=True):
        part = slice(start, start + count)
        hits.append(
            jax.vmap(lambda m, c, a, shape=shape: cast(shape, m, c, a))(
                objects.matrix[part], objects.centre[part], objects.active[part]
            )
        )
        start += count
    return jnp.concatenate(hits)


def intersect_room(
    objects: Primitives, origin: Float[Array, " 3"], direction: Float[Array, "3 p"]
) -> Float[Array, "3 p"]:
    """Compute the ray parameter at which each ray leaves the room through its x, y and z walls."""

    def leave(low: Array, high: Array, o: Array, d: Array) -> Array:
        d = _away_from_zero(d)
        return (jnp.where(d > 0.0, high, low) - o) / d

    return jax.vmap(leave)(objects.room_low, objects.room_high, origin, direction)


def distance(
    kind: Array,
    centre: Float[Array, " 3"],
    rotation: Float[Array, "3 3"],
    half: Float[Array, " 3"],
    points: Float[Array, "p 3"],
) -> Float[Array, " p"]:
    """Lower bound of the distance from points to one object, in metres.

    Args:
      kind: 0 box, 1 sphere, 2 cylinder.
      centre, rotation, half: the object, see `Primitives`.
      points: in the world.
    """
    local = (points - centre[None]) @ rotation
    excess = jnp.abs(local) - half[None]
    outside = jnp.linalg.norm(jnp.maximum(excess, 0.0), axis=-1)
    box = outside + jnp.minimum(excess.max(-1), 0.0)
    unit = local / half[None]
    ball = (jnp.linalg.norm(unit, axis=-1) - 1.0) * half.min()
    side = (jnp.linalg.norm(unit[:, :2], axis=-1) - 1.0) * half[:2].min()
    tube = jnp.maximum(side, excess[:, 2])
    return jnp.select([kind == 0, kind == 1], [box, ball], tube)
