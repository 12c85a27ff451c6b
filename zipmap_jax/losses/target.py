"""Ground truth of the losses, in the first camera's frame and with a mean point distance of 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.geometry import encode_pose, homogeneous, rebase_poses, transform_points, unproject
from zipmap_jax.losses.robust import LIMIT, safe_norm

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

MIN_PIXELS = 50
"""Valid pixels that one view of a valid sample has at least."""
MIN_FIRST_VIEW_PIXELS = 101
"""Valid pixels that the first view, which defines the frame, needs for the camera loss."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """Normalised ground truth of the input views.

    Attributes:
      w2c: world-to-camera poses; the first view of every sample is the identity.
      intrinsics: in pixels of the depth maps.
      pose_enc: the poses as encoded by `geometry.encode_pose`.
      depth: z-depth, 0 where invalid.
      cam_points: points in each camera's frame, 0 where invalid.
      mask: valid pixels.
      detailed: samples whose depth is dense and sharp enough to supervise normals.
    """

    w2c: Float[Array, "b v 4 4"]
    intrinsics: Float[Array, "b v 3 3"]
    pose_enc: Float[Array, "b v 9"]
    depth: Float[Array, "b v h w"]
    cam_points: Float[Array, "b v h w 3"]
    mask: Bool[Array, "b v h w"]
    detailed: Bool[Array, " b"]

    def patch_side(self, patches: int) -> int:
        """Side of a square patch.

        Args:
          patches: number of patches of a view.

        Returns:
          The side in pixels.
        """
        height, width = self.depth.shape[2:]
        return round((height * width / patches) ** 0.5)

    @property
    def valid(self) -> Bool[Array, " b"]:
        """Samples that enter the depth and point losses."""
        return valid_samples(self.mask)

    @property
    def valid_cameras(self) -> Bool[Array, " b"]:
        """Samples that enter the camera loss."""
        first = jnp.sum(self.mask[:, 0], axis=(1, 2), dtype=jnp.int32)
        return self.valid & (first >= MIN_FIRST_VIEW_PIXELS)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QueryTarget:
    """Ground truth of queried views.

    Attributes:
      images: RGB in [0, 1].
      depth: z-depth in the unit of the input views' `Target`, 0 where invalid.
      mask: valid pixels.
    """

    images: Float[Array, "b q h w 3"]
    depth: Float[Array, "b q h w"]
    mask: Bool[Array, "b q h w"]


def valid_samples(mask: Bool[Array, "b v h w"]) -> Bool[Array, " b"]:
    """Samples with at least `MIN_PIXELS` valid pixels in one of their views.

    Args:
      mask: valid pixels.

    Returns:
      The valid samples.
    """
    return jnp.max(jnp.sum(mask, axis=(2, 3), dtype=jnp.int32), axis=1) >= MIN_PIXELS


def normalise_target(
    w2c: Float[Array, "b v r 4"],
    intrinsics: Float[Array, "b v 3 3"],
    depth: Float[Array, "b v h w"],
    mask: Bool[Array, "b v h w"],
    detailed: Bool[Array, " b"] | None = None,
) -> tuple[Target, Float[Array, " b"]]:
    """Transforms ground truth to the first camera's frame and normalises its scale.

    The unit is the mean distance of the valid points from the first camera,

        sigma = clip(sum_p m_p |X'_p| / (sum_p m_p + 1e-3), 1e-6, 1e6),  X' = first-camera frame.

    Args:
      w2c: world-to-camera poses in any world frame.
      intrinsics: intrinsic matrices, in pixels of the depth maps.
      depth: z-depth in the unit of the poses.
      mask: valid pixels; other depths are ignored.
      detailed: samples that supervise normals; None = all.

    Returns:
      The target, and sigma per sample, the divisor of lengths of the same scene.

    Source: ZipMap (arXiv 2603.04385), training details on scene normalisation.
    """
    usable = mask & jnp.isfinite(depth)
    depth = jnp.where(usable, depth, 0.0)
    poses = rebase_poses(homogeneous(w2c))
    points = unproject(depth, intrinsics)
    rotation = jnp.swapaxes(poses[..., :3, :3], -1, -2)
    # R^T (x - t) transforms points to the first camera without an explicit inverse pose.
    shifted = points - poses[..., None, None, :3, 3]
    to_first = jnp.concatenate([rotation, jnp.zeros_like(rotation[..., :1])], axis=-1)
    distance = safe_norm(transform_points(to_first, shifted))
    sums = jnp.sum(jnp.where(usable, distance, 0.0), axis=(1, 2, 3))
    number = jnp.sum(mask, axis=(1, 2, 3), dtype=jnp.int32)
    sigma = jnp.clip(sums / (number + 1e-3), 1e-6, 1e6)
    poses = _finite(_scale_translation(poses, sigma))
    per_pixel = sigma[:, None, None, None]
    target = Target(
        w2c=poses,
        intrinsics=intrinsics,
        pose_enc=encode_pose(poses, intrinsics, (depth.shape[-2], depth.shape[-1])),
        depth=_finite(depth / per_pixel),
        cam_points=_finite(points / per_pixel[..., None]),
        mask=mask,
        detailed=jnp.ones(depth.shape[0], bool) if detailed is None else detailed,
    )
    return target, sigma


def target_from_batch(batch: Mapping[str, Any]) -> Target:
    """Target of a batch of the loader, computed on the device.

    Args:
      batch: `depth` [b, v, h, w] in the unit of the poses, `valid` [b, v, h, w] bool,
        `intrinsics` [b, v, 3, 3] in pixels, `w2c` [b, v, 4, 4] and, optionally, `detailed` [b]
        bool (see `Target`; absent = all True). Other entries are ignored.

    Returns:
      The normalised ground truth.
    """
    target, _ = normalise_target(
        batch["w2c"], batch["intrinsics"], batch["depth"], batch["valid"], batch.get("detailed")
    )
    return target


def query_targets_from_batch(batch: Mapping[str, Any]) -> tuple[Target, QueryTarget]:
    """Targets of a batch whose views are divided into input views and queried views.

    Args:
      batch: entries of `target_from_batch`, and `target_images` [b, q, h, w, 3] in [0, 1],
        `target_depth` [b, q, h, w] in the unit of the poses, `target_valid` [b, q, h, w] bool.

    Returns:
      Ground truth of the input views, and that of the queried views in the same unit.
    """
    target, sigma = normalise_target(
        batch["w2c"], batch["intrinsics"], batch["depth"], batch["valid"], batch.get("detailed")
    )
    depth = _finite(batch["target_depth"] / sigma[:, None, None, None])
    return target, QueryTarget(batch["target_images"], depth, batch["target_valid"])


def without_far_pixels(target: Target) -> Target:
    """Marks pixels as invalid whose coordinates the losses would otherwise clamp to `LIMIT`.

    Args:
      target: ground truth of the input views.

    Returns:
      The ground truth with a smaller mask.
    """
    near = jnp.all(jnp.abs(target.cam_points) <= LIMIT, axis=-1)
    return dataclasses.replace(target, mask=target.mask & near)


def without_far_queries(query: QueryTarget, target: Target) -> QueryTarget:
    """Marks far pixels of queried views as invalid, and all pixels of scenes without a scale.

    Args:
      query: ground truth of the queried views.
      target: ground truth of the input views.

    Returns:
      The ground truth of the queried views with a smaller mask.
    """
    near = jnp.abs(query.depth) <= LIMIT
    mask = query.mask & near & target.valid[:, None, None, None]
    return dataclasses.replace(query, mask=mask)


def _finite(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return jnp.where(jnp.isfinite(x), x, 0.0)


def _scale_translation(
    w2c: Float[Array, "b v 4 4"], unit: Float[Array, " b"]
) -> Float[Array, "b v 4 4"]:
    divisor = jnp.ones_like(w2c).at[..., :3, 3].set(unit[:, None, None])
    return w2c / divisor
