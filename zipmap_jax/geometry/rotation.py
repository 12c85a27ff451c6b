"""Rotations as matrices and as quaternions (x, y, z, w), scalar last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.geometry.namespace import array_namespace

if TYPE_CHECKING:
    from jaxtyping import Float

    from zipmap_jax.geometry.namespace import Array


def quaternion_to_matrix(
    quaternion: Float[Array, "*b 4"], min_square: float = 0.0
) -> Float[Array, "*b 3 3"]:
    """Rotation matrix of a quaternion of any non-zero length.

    `R = I + s [..]` with `s = 2 / (q . q)`, in which the length cancels. The zero quaternion, for
    which the reference returns NaN, yields the identity with a finite gradient.

    Args:
      quaternion: (x, y, z, w).
      min_square: squared length below which `s = 2 / min_square`. This bounds the gradient; the
        result then lies between the identity and the rotation and is not an exact rotation.

    Returns:
      Rotation matrices.

    Source: ZipMap (arXiv 2603.04385), camera head.
    """
    xp = array_namespace(quaternion)
    x, y, z, w = (quaternion[..., i] for i in range(4))
    square = x * x + y * y + z * z + w * w
    s = 2.0 / xp.where(square > min_square, square, min_square or 1.0)
    rows = (
        (1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)),
        (s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)),
        (s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)),
    )
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(rotation: Float[Array, "*b 3 3"]) -> Float[Array, "*b 4"]:
    """Quaternion (x, y, z, w) with `w >= 0` of a rotation matrix.

    Each component q_n follows from the diagonal, and the other three from q_n. Of the four
    candidates the one with the largest q_n is numerically stable.

    Args:
      rotation: rotation matrices.

    Returns:
      Quaternions of unit length up to rounding.

    Source: ZipMap (arXiv 2603.04385), camera head.
    """
    xp = array_namespace(rotation)
    m = [[rotation[..., i, j] for j in range(3)] for i in range(3)]
    diagonal = (
        1 + m[0][0] + m[1][1] + m[2][2],
        1 + m[0][0] - m[1][1] - m[2][2],
        1 - m[0][0] + m[1][1] - m[2][2],
        1 - m[0][0] - m[1][1] + m[2][2],
    )
    square = xp.stack(diagonal, axis=-1)
    # sqrt has no gradient at 0; the result depends only on the largest of the four, which is >= 1.
    magnitude = xp.sqrt(xp.where(square > 0, square, 0.01)) * (square > 0)
    wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    xy, xz, yz = m[1][0] + m[0][1], m[0][2] + m[2][0], m[1][2] + m[2][1]
    square = magnitude * magnitude
    candidates = xp.stack(
        [
            xp.stack([square[..., 0], wx, wy, wz], axis=-1),
            xp.stack([wx, square[..., 1], xy, xz], axis=-1),
            xp.stack([wy, xy, square[..., 2], yz], axis=-1),
            xp.stack([wz, xz, yz, square[..., 3]], axis=-1),
        ],
        axis=-2,
    )
    candidates = candidates / (2 * xp.maximum(magnitude, 0.1)[..., None])
    best = xp.argmax(magnitude, axis=-1)[..., None, None]
    wxyz = xp.take_along_axis(candidates, best, axis=-2)[..., 0, :]
    wxyz = xp.where(wxyz[..., :1] < 0, -wxyz, wxyz)
    return xp.concatenate([wxyz[..., 1:], wxyz[..., :1]], axis=-1)


def nearest_rotation(
    matrix: Float[Array, "*b 3 3"], normalise_rows: bool = False
) -> Float[Array, "*b 3 3"]:
    """Rotation closest to a matrix in the Frobenius norm, `R = U diag(1, 1, det(U V^T)) V^T`.

    U and V are those of the singular value decomposition `M = U S V^T`.

    Args:
      matrix: M, 3 x 3 matrices of rank 2 or 3.
      normalise_rows: whether the rows are first scaled to unit length, as for heads that predict
        nine-number rotations.

    Returns:
      Rotation matrices.

    Source: Levinson et al., An Analysis of SVD for Deep Rotation Estimation, NeurIPS 2020.
    """
    xp = array_namespace(matrix)
    if normalise_rows:
        length = xp.sqrt(xp.sum(matrix * matrix, axis=-1, keepdims=True))
        matrix = matrix / xp.maximum(length, 1e-12)
    u, _, vt = xp.linalg.svd(matrix)
    sign = xp.linalg.det(u) * xp.linalg.det(vt)
    flip = xp.stack([xp.ones_like(sign), xp.ones_like(sign), sign], axis=-1)
    return multiply(u * flip[..., None, :], vt)


def multiply(a: Float[Array, "*#b i k"], b: Float[Array, "*#b k j"]) -> Float[Array, "*b i j"]:
    """Product of small matrices in the full precision of their type.

    The product is a sum of products, because a float32 `matmul` may run in TensorFloat32 on GPUs.

    Args:
      a: left factors.
      b: right factors.

    Returns:
      The products `a @ b`.
    """
    xp = array_namespace(a, b)
    return xp.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)
