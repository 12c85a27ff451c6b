"""Ray conditions: per-pixel vectors that describe a query camera to the network.

With o the camera centre and d the unit direction of a pixel's ray, both in world coordinates, the
channels are

    default_plucker              o x d, d
    custom_plucker               d, o - (o . d) d
    aug_plucker                  o x d, d, o - (o . d) d
    plucker_and_common_origin    o, d, o x d          (the released models)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from zipmap_jax.geometry.camera import scale_intrinsics
from zipmap_jax.geometry.namespace import array_namespace
from zipmap_jax.geometry.pose import invert_pose, relative_pose, transform_points

if TYPE_CHECKING:
    from jaxtyping import Float

    from zipmap_jax.geometry.namespace import Array

RayKind = Literal["default_plucker", "custom_plucker", "aug_plucker", "plucker_and_common_origin"]
"""Names of the ray conditions, as in the reference."""


def ray_directions(
    w2c: Float[Array, "*b r 4"], intrinsics: Float[Array, "*b 3 3"], size: tuple[int, int]
) -> tuple[Float[Array, "*b h w 3"], Float[Array, "*b h w 3"]]:
    """Origins and unit directions of the rays through all pixels, in world coordinates.

    Parity: rays pass through (u + 0.5, v + 0.5), as in the reference, whereas unprojection uses
    (u, v).

    Args:
      w2c: world-to-camera poses.
      intrinsics: intrinsic matrices, in pixels of images of `size`.
      size: (height, width) of the grid in pixels.

    Returns:
      Ray origins, which are equal for all pixels of a camera, and unit directions.
    """
    xp = array_namespace(w2c, intrinsics)
    height, width = size
    lead = (*intrinsics.shape[:-2], 1, 1)
    ones = (1,) * (len(lead) - 2)
    u = xp.arange(width, dtype=intrinsics.dtype).reshape(*ones, 1, width) + 0.5
    v = xp.arange(height, dtype=intrinsics.dtype).reshape(*ones, height, 1) + 0.5
    x = (u - intrinsics[..., 0, 2].reshape(lead)) / intrinsics[..., 0, 0].reshape(lead)
    y = (v - intrinsics[..., 1, 2].reshape(lead)) / intrinsics[..., 1, 1].reshape(lead)
    shape = (*lead[:-2], height, width)
    camera = xp.stack(
        [xp.broadcast_to(x, shape), xp.broadcast_to(y, shape), xp.ones(shape, x.dtype)], axis=-1
    )
    c2w = invert_pose(w2c)
    centre = xp.broadcast_to(c2w[..., :3, 3].reshape(*lead, 3), (*shape, 3))
    turn = xp.concatenate([c2w[..., :3, :3], xp.zeros_like(c2w[..., :3, :1])], axis=-1)
    world = transform_points(turn, camera)
    return centre, world / xp.sqrt(xp.sum(world * world, axis=-1, keepdims=True))


def ray_conditions(
    w2c: Float[Array, "*b r 4"],
    intrinsics: Float[Array, "*b 3 3"],
    size: tuple[int, int],
    kind: RayKind = "plucker_and_common_origin",
    intrinsics_size: tuple[int, int] | None = None,
) -> Float[Array, "*b h w c"]:
    """Ray conditions of query cameras.

    Args:
      w2c: world-to-camera poses, in the frame and unit of `query_frame`.
      intrinsics: intrinsic matrices, in pixels of images of `intrinsics_size`.
      size: (height, width) of the queried view in pixels.
      kind: the channels, see the module's docstring.
      intrinsics_size: (height, width) of the images that the intrinsics belong to; None = `size`.
        The reference infers it from the principal points, with an error of one pixel for odd crops.

    Returns:
      6 or 9 channels per pixel.

    Raises:
      ValueError: `kind` is unknown.

    Source: ZipMap (arXiv 2603.04385), querying the scene state.
    """
    if intrinsics_size is not None and intrinsics_size != size:
        scale = (size[0] / intrinsics_size[0], size[1] / intrinsics_size[1])
        intrinsics = scale_intrinsics(intrinsics, scale, half_pixel=False)
    xp = array_namespace(w2c, intrinsics)
    o, d = ray_directions(w2c, intrinsics, size)
    moment = xp.stack(
        [
            o[..., 1] * d[..., 2] - o[..., 2] * d[..., 1],
            o[..., 2] * d[..., 0] - o[..., 0] * d[..., 2],
            o[..., 0] * d[..., 1] - o[..., 1] * d[..., 0],
        ],
        axis=-1,
    )
    nearest = o - xp.sum(o * d, axis=-1, keepdims=True) * d
    channels = {
        "default_plucker": (moment, d),
        "custom_plucker": (d, nearest),
        "aug_plucker": (moment, d, nearest),
        "plucker_and_common_origin": (o, d, moment),
    }
    if kind not in channels:
        raise ValueError(f"Ray conditions must be one of {sorted(channels)}, got {kind!r}.")
    return xp.concatenate(channels[kind], axis=-1)


def query_frame(
    input_w2c: Float[Array, "*b v r 4"], query_w2c: Float[Array, "*b q r 4"]
) -> tuple[Float[Array, "*b v 4 4"], Float[Array, "*b q 4 4"], Float[Array, "*b"]]:
    """Transforms cameras to the frame and unit in which the model was trained on query rays.

    The world frame becomes the first input camera's; lengths are divided by the largest absolute
    coordinate of the input camera centres, clipped to [1e-6, 1e6].

    Args:
      input_w2c: world-to-camera poses of the input views; the first view defines the frame.
      query_w2c: world-to-camera poses of the queried views, in the same world.

    Returns:
      The transformed poses of the input views, those of the queried views, and the divisor of
      lengths, in the unit of `input_w2c`.

    Source: ZipMap (arXiv 2603.04385), querying the scene state.
    """
    xp = array_namespace(input_w2c, query_w2c)
    first = input_w2c[..., :1, :, :]
    inputs = relative_pose(input_w2c, xp.broadcast_to(first, input_w2c.shape))
    shape = (*query_w2c.shape[:-2], *first.shape[-2:])
    queries = relative_pose(query_w2c, xp.broadcast_to(first, shape))
    centres = invert_pose(inputs)[..., :3, 3]
    scale = xp.clip(xp.max(xp.abs(centres), axis=(-1, -2)), 1e-6, 1e6)
    return _rescale(inputs, scale), _rescale(queries, scale), scale


def _rescale(pose: Float[Array, "*b v 4 4"], unit: Float[Array, "*b"]) -> Float[Array, "*b v 4 4"]:
    """Divides translations by the length `unit`."""
    xp = array_namespace(pose, unit)
    translation = pose[..., :3, 3:] / unit[..., None, None, None]
    top = xp.concatenate([pose[..., :3, :3], translation], axis=-1)
    return xp.concatenate([top, pose[..., 3:, :]], axis=-2)
