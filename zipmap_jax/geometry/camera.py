"""Pinhole intrinsics in pixels, with zero skew.

Pixel (u, v) = (column, row) has its centre at integer coordinates, so an image of width W covers
[-0.5, W - 0.5]. Parity: fields of view nevertheless assume a principal point of (W / 2, H / 2), as
the reference does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.geometry.namespace import array_namespace

if TYPE_CHECKING:
    from jaxtyping import Float

    from zipmap_jax.geometry.namespace import Array


def intrinsics_from(
    fx: Float[Array, "*b"], fy: Float[Array, "*b"], cx: Float[Array, "*b"], cy: Float[Array, "*b"]
) -> Float[Array, "*b 3 3"]:
    """Intrinsic matrices from focal lengths and principal points.

    Args:
      fx, fy: horizontal and vertical focal lengths in pixels.
      cx, cy: column and row of the principal point in pixels.

    Returns:
      `[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]`, in pixels.
    """
    xp = array_namespace(fx, fy, cx, cy)
    zero, one = xp.zeros_like(fx), xp.ones_like(fx)
    rows = ((fx, zero, cx), (zero, fy, cy), (zero, zero, one))
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def intrinsics_from_fov(fov: Float[Array, "*b 2"], size: tuple[int, int]) -> Float[Array, "*b 3 3"]:
    """Intrinsics of a camera with a centred principal point, `f = (n / 2) / tan(fov / 2)`.

    Args:
      fov: vertical and horizontal field of view in radians.
      size: (height, width) in pixels.

    Returns:
      Intrinsic matrices in pixels.
    """
    xp = array_namespace(fov)
    height, width = size
    fy = (height / 2) / xp.tan(fov[..., 0] / 2)
    fx = (width / 2) / xp.tan(fov[..., 1] / 2)
    return intrinsics_from(fx, fy, xp.full_like(fx, width / 2), xp.full_like(fy, height / 2))


def fov_from_intrinsics(
    intrinsics: Float[Array, "*b 3 3"], size: tuple[int, int]
) -> Float[Array, "*b 2"]:
    """Vertical and horizontal field of view in radians, `2 atan((n / 2) / f)`.

    Args:
      intrinsics: intrinsic matrices, in pixels of images of `size`.
      size: (height, width) in pixels.

    Returns:
      (vertical, horizontal) in radians.
    """
    xp = array_namespace(intrinsics)
    height, width = size
    vertical = 2 * xp.arctan((height / 2) / intrinsics[..., 1, 1])
    horizontal = 2 * xp.arctan((width / 2) / intrinsics[..., 0, 0])
    return xp.stack([vertical, horizontal], axis=-1)


def scale_intrinsics(
    intrinsics: Float[Array, "*b 3 3"], scale: tuple[float, float], half_pixel: bool = True
) -> Float[Array, "*b 3 3"]:
    """Intrinsics of an image resized by `scale`, `f' = f s` and `c' = (c + 0.5) s - 0.5`.

    The outer edges of the image, not the centres of its corner pixels, are mapped to each other.

    Args:
      intrinsics: intrinsic matrices, in pixels of the original image.
      scale: new size / old size, (vertical, horizontal).
      half_pixel: whether the half-pixel shift is applied; False computes `c' = c s`, which keeps a
        principal point of (W / 2, H / 2) centred.

    Returns:
      Intrinsics in pixels of the resized image.
    """
    sy, sx = scale
    shift = 0.5 if half_pixel else 0.0
    return intrinsics_from(
        intrinsics[..., 0, 0] * sx,
        intrinsics[..., 1, 1] * sy,
        (intrinsics[..., 0, 2] + shift) * sx - shift,
        (intrinsics[..., 1, 2] + shift) * sy - shift,
    )


def crop_intrinsics(
    intrinsics: Float[Array, "*b 3 3"], top: float, left: float
) -> Float[Array, "*b 3 3"]:
    """Intrinsics of a crop of an image.

    Args:
      intrinsics: intrinsic matrices, in pixels of the whole image.
      top, left: row and column of the first pixel of the crop; negative values pad the image.

    Returns:
      Intrinsics in pixels of the crop.
    """
    return intrinsics_from(
        intrinsics[..., 0, 0],
        intrinsics[..., 1, 1],
        intrinsics[..., 0, 2] - left,
        intrinsics[..., 1, 2] - top,
    )


def project(
    points: Float[Array, "*b *n 3"], intrinsics: Float[Array, "*b 3 3"]
) -> tuple[Float[Array, "*b *n 2"], Float[Array, "*b *n"]]:
    """Pixel coordinates of camera-frame points, `u = fx x / z + cx`, `v = fy y / z + cy`.

    Args:
      points: camera-frame points; their leading axes are those of `intrinsics`.
      intrinsics: intrinsic matrices in pixels.

    Returns:
      (u, v) = (column, row) in pixels, NaN where z <= 0, and the depth z in the unit of `points`.
    """
    xp = array_namespace(points, intrinsics)
    extra = points.ndim - 1 - (intrinsics.ndim - 2)
    lead = (*intrinsics.shape[:-2], *(1,) * extra)
    fx, fy = intrinsics[..., 0, 0].reshape(lead), intrinsics[..., 1, 1].reshape(lead)
    cx, cy = intrinsics[..., 0, 2].reshape(lead), intrinsics[..., 1, 2].reshape(lead)
    z = points[..., 2]
    front = z > 0
    safe = xp.where(front, z, 1.0)
    pixels = xp.stack([fx * points[..., 0] / safe + cx, fy * points[..., 1] / safe + cy], axis=-1)
    return xp.where(front[..., None], pixels, xp.nan), z
