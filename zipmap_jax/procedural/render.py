"""Renders a view: nearest hits with exact z-depth, and one texture evaluation per ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from zipmap_jax.procedural import layout as rows
from zipmap_jax.procedural.primitives import intersect, intersect_room, transform
from zipmap_jax.procedural.texture import Material, albedo

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int

    from zipmap_jax.procedural.config import ProceduralConfig

_SKY_SCALE = 2.0


def pixel_rays(
    intrinsics: Float[Array, "3 3"],
    height: int,
    width: int,
    shift: Float[Array, " 2"] | tuple[float, float] = (0.0, 0.0),
) -> Float[Array, "3 p"]:
    """Camera-frame rays with z = 1, so the ray parameter of a hit is its z-depth.

    Pixel (column u, row v) has its centre at integer coordinates: x = (u - cx) / fx.

    Args:
      intrinsics: in pixels.
      height, width: image size in pixels.
      shift: offset of all rays in pixels, (u, v).
    """
    u = jnp.tile(jnp.arange(width, dtype=jnp.float32), height) + shift[0]
    v = jnp.repeat(jnp.arange(height, dtype=jnp.float32), width) + shift[1]
    x = (u - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
    return jnp.stack([x, y, jnp.ones_like(x)])


def render_view(
    scene: rows.Layout,
    config: ProceduralConfig,
    intrinsics: Float[Array, "3 3"],
    w2c: Float[Array, "4 4"],
) -> tuple[Float[Array, "h w 3"], Float[Array, "h w"], Bool[Array, "h w"]]:
    """Render one view.

    Args:
      scene: the scene.
      config: image size, maximum depth and ray counts.
      intrinsics: in pixels.
      w2c: world to camera.

    Returns:
      Colours (linear light), z-depth in metres (0 where invalid) and validity.
    """
    size = (config.height, config.width)
    c2w = w2c[:3, :3].T
    origin = -jnp.matmul(c2w, w2c[:3, 3], precision="highest")

    def shoot(shift: Float[Array, " 2"]) -> tuple[Float[Array, "3 p"], Float[Array, " p"]]:
        rays = jnp.stack(transform(c2w, pixel_rays(intrinsics, *size, shift)))
        return _trace(scene, config, origin, rays, 1.0 / intrinsics[0, 0])

    colour, depth = shoot(jnp.zeros(2))
    if config.supersample > 1:
        steps = (jnp.arange(config.supersample) + 0.5) / config.supersample - 0.5
        shifts = jnp.stack(jnp.meshgrid(steps, steps), -1).reshape(-1, 2)
        colour = jax.lax.map(lambda shift: shoot(shift)[0], shifts).mean(0)
    valid = jnp.isfinite(depth)
    depth = jnp.where(valid, depth, 0.0)
    return colour.T.reshape(*size, 3), depth.reshape(size), valid.reshape(size)


def _dot(a: Array, b: Array) -> Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _unit(a: Array) -> Array:
    return a * jax.lax.rsqrt(_dot(a, a) + 1e-20)[None]


def _trace(
    scene: rows.Layout,
    config: ProceduralConfig,
    origin: Float[Array, " 3"],
    rays: Float[Array, "3 p"],
    pixel: Float[Array, ""],
) -> tuple[Float[Array, "3 p"], Float[Array, " p"]]:
    """Trace rays; returns their colours (linear light) and ray parameters (infinite: sky)."""
    counts = config.counts
    n = sum(counts)
    hits = intersect(scene.objects, counts, origin, rays)
    nearest = hits.min(0)
    index = jnp.where(hits <= nearest[None], jnp.arange(n)[:, None], n).min(0)
    walls = intersect_room(scene.objects, origin, rays)
    wall = walls.min(0)
    on_object = nearest < wall
    depth = jnp.minimum(nearest, wall)
    sky = depth > config.far
    near = jnp.where(sky, config.far, depth)
    point = origin[:, None] + near[None] * rays

    material, matrix, centre, half = _gather(scene, index, walls, rays, on_object, sky)
    surface_normal, u, v = _object_frame(point, matrix, centre, half, index, counts)
    room_normal, room_u, room_v = _room_frame(point, walls, rays)
    normal = jnp.where(on_object[None], surface_normal, room_normal)
    normal = jnp.where(sky[None], -_unit(rays), normal)
    up = _unit(rays)[2]
    flatten = _SKY_SCALE / (jnp.maximum(up, 0.0) + 0.25)
    u = jnp.where(sky, rays[0] * flatten, jnp.where(on_object, u, room_u))
    v = jnp.where(sky, rays[1] * flatten, jnp.where(on_object, v, room_v))

    facing = jnp.abs(_dot(normal, _unit(rays)))
    footprint = near * pixel / jnp.sqrt(jnp.maximum(facing, 0.02))
    footprint = jnp.where(sky, pixel * flatten, footprint)
    base = albedo(material, u, v, footprint)
    lit = _shade(scene, config, point, normal, rays, base, material)
    clear = jnp.where(sky, 1.0, jnp.exp(-scene.haze * near))
    lit = scene.horizon[:, None] + clear[None] * (lit - scene.horizon[:, None])
    blend = jnp.clip(3.0 * up, 0.0, 1.0)[None]
    sky_colour = scene.horizon[:, None] + blend * (base - scene.horizon[:, None])
    return jnp.where(sky[None], sky_colour, lit), jnp.where(sky, jnp.inf, depth)


def _gather(
    scene: rows.Layout,
    index: Int[Array, " p"],
    walls: Float[Array, "3 p"],
    rays: Float[Array, "3 p"],
    on_object: Bool[Array, " p"],
    sky: Bool[Array, " p"],
) -> tuple[Material, Float[Array, "3 3 p"], Float[Array, "3 p"], Float[Array, "3 p"]]:
    """Material and unit-shape map of the surface that each ray hits."""
    sideways = jnp.where(walls[0] < walls[1], rows.WALL_X, rows.WALL_Y)
    vertical = jnp.where(rays[2] > 0.0, rows.CEILING, rows.FLOOR)
    face = jnp.where(walls[2] < jnp.minimum(walls[0], walls[1]), vertical, sideways)
    row = jnp.where(on_object, index + rows.OBJECTS, face)
    row = jnp.where(sky, rows.SKY, row)
    objects = scene.objects
    shapes = jnp.concatenate([objects.matrix.reshape(-1, 9), objects.centre, objects.half], axis=-1)
    shell = jnp.ones((rows.OBJECTS, shapes.shape[1]))
    table = jnp.concatenate([scene.materials, jnp.concatenate([shell, shapes])], axis=-1)
    chosen = (row[None] == jnp.arange(len(table))[:, None]).astype(jnp.float32)
    gathered = jnp.matmul(table.T, chosen, precision="highest")
    size = scene.materials.shape[1]
    matrix = gathered[size : size + 9].reshape(3, 3, -1)
    centre, half = gathered[size + 9 : size + 12], gathered[size + 12 :]
    return Material.unpack(gathered[:size]), matrix, centre, half


def _object_frame(
    point: Float[Array, "3 p"],
    matrix: Float[Array, "3 3 p"],
    centre: Float[Array, "3 p"],
    half: Float[Array, "3 p"],
    index: Int[Array, " p"],
    counts: tuple[int, int, int],
) -> tuple[Float[Array, "3 p"], Float[Array, " p"], Float[Array, " p"]]:
    """World normal and texture coordinates of hits on objects.

    The texture is projected along the local axis closest to the normal.
    """
    q = jnp.stack(transform(matrix, point - centre))
    size = jnp.abs(q)
    zero = jnp.zeros_like(q[0])
    sign = jnp.sign(q)
    first = (size[0] >= size[1]) & (size[0] >= size[2])
    second = ~first & (size[1] >= size[2])
    box = jnp.stack(
        [
            jnp.where(first, sign[0], zero),
            jnp.where(second, sign[1], zero),
            jnp.where(first | second, zero, sign[2]),
        ]
    )
    cap = size[2] > 0.9999
    tube = jnp.stack(
        [jnp.where(cap, zero, q[0]), jnp.where(cap, zero, q[1]), jnp.where(cap, sign[2], zero)]
    )
    is_box, is_tube = index < counts[0], index >= counts[0] + counts[1]
    gradient = jnp.where(is_box[None], box, jnp.where(is_tube[None], tube, q))
    normal = _unit(jnp.stack(transform(jnp.swapaxes(matrix, 0, 1), gradient)))

    local = q * half
    steep = jnp.abs(gradient / half)
    along_x = (steep[0] >= steep[1]) & (steep[0] >= steep[2])
    along_y = ~along_x & (steep[1] >= steep[2])
    # Each face has a different part of the texture.
    face = jnp.where(along_x, sign[0], jnp.where(along_y, 3.0 * sign[1], 5.0 * sign[2])) * 7.3
    u = jnp.where(along_x, local[1], local[0]) + face
    v = jnp.where(along_x | along_y, local[2], local[1])
    return normal, u, v


def _room_frame(
    point: Float[Array, "3 p"], walls: Float[Array, "3 p"], rays: Float[Array, "3 p"]
) -> tuple[Float[Array, "3 p"], Float[Array, " p"], Float[Array, " p"]]:
    """Inward normal and texture coordinates of hits on the room."""
    along_x = (walls[0] <= walls[1]) & (walls[0] <= walls[2])
    along_y = ~along_x & (walls[1] <= walls[2])
    zero = jnp.zeros_like(point[0])
    inward = -jnp.sign(rays)
    normal = jnp.stack(
        [
            jnp.where(along_x, inward[0], zero),
            jnp.where(along_y, inward[1], zero),
            jnp.where(along_x | along_y, zero, inward[2]),
        ]
    )
    face = jnp.where(along_x, inward[0], jnp.where(along_y, inward[1], zero)) * 9.7
    u = jnp.where(along_x, point[1], point[0]) + face
    v = jnp.where(along_x | along_y, point[2], point[1])
    return normal, u, v


def _shade(
    scene: rows.Layout,
    config: ProceduralConfig,
    point: Float[Array, "3 p"],
    normal: Float[Array, "3 p"],
    rays: Float[Array, "3 p"],
    base: Float[Array, "3 p"],
    material: Material,
) -> Float[Array, "3 p"]:
    """Compute ambient light and two lamps with highlights, the first with hard shadows."""
    tilt = 0.5 + 0.5 * normal[2]
    up, down = scene.ambient_up[:, None], scene.ambient_down[:, None]
    colour = base * (down + tilt[None] * (up - down)) * _corner_shade(scene, point)[None]
    view = -_unit(rays)
    for i in range(2):
        to_lamp = scene.lamps[i][:, None] - point
        away = jnp.sqrt(_dot(to_lamp, to_lamp))
        toward = to_lamp / away[None]
        diffuse = jnp.maximum(_dot(normal, toward), 0.0)
        middle = _unit(toward + view)
        shine = jnp.maximum(_dot(normal, middle), 1e-4) ** material.gloss
        # Light falls off indoors; the sun is equally bright everywhere.
        falloff = jnp.where(scene.indoor, 4.0 / (1.5 + away * away), 1.0)
        if i == 0 and config.shadows:
            start = point + (1e-3 + 1e-4 * jnp.abs(point).max(0))[None] * normal
            blocked = intersect(scene.objects, config.counts, start, toward).min(0) < away
            falloff = jnp.where(blocked, 0.0, falloff)
        glow = base * diffuse[None] + (material.specular * shine * (diffuse > 0.0))[None]
        colour = colour + scene.lamp_colours[i][:, None] * falloff[None] * glow
    return colour


def _corner_shade(scene: rows.Layout, point: Float[Array, "3 p"]) -> Float[Array, " p"]:
    """Factor of ambient light, lower where room surfaces meet."""
    low = jnp.abs(point - scene.objects.room_low[:, None])
    high = jnp.abs(scene.objects.room_high[:, None] - point)
    gap = jnp.minimum(low, high)
    x, y, z = 1.0 - jnp.exp(-5.0 * gap)
    middle = x + y + z - jnp.minimum(jnp.minimum(x, y), z)
    return 0.6 + 0.4 * (middle - 1.0).clip(0.0, 1.0)
