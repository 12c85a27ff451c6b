"""The coloured point cloud of a scene: selection and unprojection of pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8, UInt16

    from zipmap_jax.scene.scene import Scene

PERCENTILE_SAMPLES = 50_000_000
"""Maximum number of confidences in the percentile, to bound memory; more are subsampled."""


@dataclasses.dataclass(frozen=True)
class PointCloud:
    """Points of a scene, ordered by view and then by pixel.

    Attributes:
      positions: world coordinates (OpenCV axes of the first camera, the scene's unit).
      colors: sRGB.
      depth: z-depth in the view of the point, in the scene's unit.
      confidence: depth confidence (> 1 for depth predicted by the network).
      view: index of the view of each point.
      pixels: (column, row) in the original image of that view.
    """

    positions: Float[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"]
    depth: Float[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    view: UInt16[np.ndarray, " n"] | Int[np.ndarray, " n"]
    pixels: Int[np.ndarray, "n 2"]

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, index: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> PointCloud:
        """Selects points.

        Args:
          index: indices or a mask.

        Returns:
          The selected points, in the order of `index`.
        """
        return PointCloud(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def scale(self) -> float:
        """Size of the scene: diagonal of the box between the 5 % and 95 % quantiles.

        Returns:
          The length in the scene's unit; 1 if it is zero.

        Source: the reference's GLB export (scene scale).
        """
        if not len(self):
            return 1.0
        low, high = np.percentile(self.positions, [5, 95], axis=0)
        return float(np.linalg.norm(high - low)) or 1.0


def point_cloud(
    scene: Scene,
    *,
    conf_threshold: float = 50.0,
    max_points: int | None = 1_000_000,
    views: Sequence[int] | None = None,
    edge_threshold: float | None = None,
    sampling: Literal["random", "stride"] = "random",
    seed: int = 0,
) -> PointCloud:
    """Unprojects the confident pixels of a scene.

    A pixel is kept if its depth is known, `confidence >= percentile(conf_threshold)` and
    `confidence > 1e-5`; the percentile is that of all selected views together.

    Args:
      scene: the reconstruction.
      conf_threshold: percentage of the pixels left out, by ascending confidence; 0 keeps all.
      max_points: maximum number of points, to which the cloud is thinned evenly; None = no limit.
      views: indices of the views used; None = all.
      edge_threshold: relative jump in depth, between neighbours one network pixel apart, at which
        pixels are removed as flying pixels; None = no filter, as in the reference. 0.05 to 0.1 is
        suitable for most scenes; the filter also removes surfaces seen at a grazing angle.
      sampling: "random" selects one pixel at random from each of `max_points` equal runs of
        pixels, "stride" the first one.
      seed: seed of the random selection.

    Returns:
      At most `max_points` points.

    Raises:
      UserError: an argument is out of its range.

    Source: ZipMap's reference demo, point cloud filter.
    """
    selected = _check(scene, conf_threshold, max_points, views, edge_threshold, sampling)
    threshold = confidence_threshold(scene, conf_threshold, views=selected)
    masks = (_kept(scene, i, threshold, edge_threshold) for i in selected)
    # Bits instead of indices: the masks of a thousand 12-megapixel views fit in memory.
    packed = [(np.count_nonzero(mask), np.packbits(mask)) for mask in masks]
    counts = np.array([count for count, _ in packed], dtype=np.int64)
    ranks = _thin(int(counts.sum()), max_points, sampling, seed)
    ends = np.cumsum(counts)
    parts = []
    for i, count, end, (_, bits) in zip(selected, counts, ends, packed, strict=True):
        first, last = np.searchsorted(ranks, [end - count, end])
        if first == last:
            continue
        mask = np.unpackbits(bits, count=scene.depth[i].size).view(bool)
        parts.append(_unproject(scene, i, np.flatnonzero(mask)[ranks[first:last] - (end - count)]))
    return _join(parts, len(scene))


def confidence_threshold(
    scene: Scene, percentile: float, *, views: Sequence[int] | None = None
) -> float:
    """Percentile of the confidence of the pixels with known depth.

    Args:
      scene: the reconstruction.
      percentile: in percent; for 0 the threshold is 0, so that all pixels are kept.
      views: indices of the views used; None = all.

    Returns:
      The threshold, in the unit of `Scene.confidence`.
    """
    if percentile == 0:
        return 0.0
    selected = range(len(scene)) if views is None else views
    sizes = [scene.depth[i].size for i in selected]
    step = -(-sum(sizes) // PERCENTILE_SAMPLES) or 1
    # One array, partitioned in place, to hold no view twice.
    values = np.empty(sum(-(-size // step) for size in sizes), np.float32)
    count = 0
    for i in selected:
        known = scene.confidence[i].ravel()[::step][_known(scene, i).ravel()[::step]]
        values[count : count + len(known)] = known
        count += len(known)
    if not count:
        return 0.0
    return float(np.percentile(values[:count], percentile, overwrite_input=True))


def depth_edges(
    depth: Float[np.ndarray, "h w"], threshold: float, step: int = 1
) -> Bool[np.ndarray, "h w"]:
    """Pixels next to a jump in depth, `|d - d'| > threshold * min(d, d')`.

    Args:
      depth: z-depth; NaN where unknown, which is never an edge.
      threshold: relative jump.
      step: distance in pixels to the four neighbours d'.

    Returns:
      True on both sides of a jump.
    """
    edge = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        if depth.shape[axis] <= step:
            continue
        near, far = np.swapaxes(depth, 0, axis)[:-step], np.swapaxes(depth, 0, axis)[step:]
        jump = np.abs(near - far) > threshold * np.minimum(near, far)
        view = np.swapaxes(edge, 0, axis)
        view[:-step] |= jump
        view[step:] |= jump
    return edge


def _check(
    scene: Scene,
    conf_threshold: float,
    max_points: int | None,
    views: Sequence[int] | None,
    edge_threshold: float | None,
    sampling: str,
) -> list[int]:
    """Checks all arguments and returns the selected views."""
    if not 0 <= conf_threshold <= 100:
        raise UserError(
            f"The confidence threshold is a percentage, not {conf_threshold}; "
            "give a number from 0 to 100."
        )
    if max_points is not None and max_points < 1:
        raise UserError(
            f"A point cloud keeps at least 1 point, not {max_points}; raise max_points."
        )
    if edge_threshold is not None and not edge_threshold > 0:
        raise UserError(
            f"The edge threshold is a positive fraction, not {edge_threshold}; "
            "give for example 0.05, or None to switch the filter off."
        )
    if sampling not in ("random", "stride"):
        raise UserError(f"Sampling is 'random' or 'stride', not {sampling!r}; choose one of them.")
    selected = list(range(len(scene))) if views is None else [int(i) for i in views]
    for i in selected:
        if not 0 <= i < len(scene):
            raise UserError(
                f"The scene has views 0 to {len(scene) - 1}, not {i}; select among these."
            )
    return selected


def _known(scene: Scene, view: int) -> Bool[np.ndarray, "h w"]:
    depth, confidence = scene.depth[view], scene.confidence[view]
    return (depth > 0) & np.isfinite(depth) & np.isfinite(confidence)


def _kept(
    scene: Scene, view: int, threshold: float, edge_threshold: float | None
) -> Bool[np.ndarray, "h w"]:
    confidence = scene.confidence[view]
    keep = _known(scene, view) & (confidence >= threshold) & (confidence > 1e-5)
    if edge_threshold is None:
        return keep
    # Depth finer than the network's grid is interpolated, so a jump extends over several pixels.
    height, width = scene.depth[view].shape
    network_height, network_width = scene.network_size
    step = 1
    if network_height > 0 and network_width > 0:
        step = max(1, round(max(height / network_height, width / network_width)))
    return keep & ~depth_edges(scene.depth[view], edge_threshold, step)


def _thin(total: int, max_count: int | None, sampling: str, seed: int) -> Int[np.ndarray, " n"]:
    """Sorted distinct numbers below `total`, one from each of `max_count` equal runs."""
    if max_count is None or total <= max_count:
        return np.arange(total)
    edges = np.arange(max_count + 1, dtype=np.int64) * total // max_count
    if sampling == "stride":
        return edges[:-1]
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def _unproject(scene: Scene, view: int, index: Int[np.ndarray, " n"]) -> PointCloud:
    """Points of the pixels of one view at flat `index`."""
    row, column = np.divmod(index, scene.depth[view].shape[1])
    return PointCloud(
        positions=scene.points_at(view, row, column),
        colors=scene.images[view][row, column],
        depth=scene.depth[view][row, column].astype(np.float32),
        confidence=scene.confidence[view][row, column].astype(np.float32),
        view=np.full(len(index), view, dtype=_view_dtype(len(scene))),
        pixels=np.stack([column, row], -1).astype(np.int32),
    )


def _join(parts: list[PointCloud], views: int) -> PointCloud:
    if not parts:
        return PointCloud(
            positions=np.zeros((0, 3), np.float32),
            colors=np.zeros((0, 3), np.uint8),
            depth=np.zeros(0, np.float32),
            confidence=np.zeros(0, np.float32),
            view=np.zeros(0, _view_dtype(views)),
            pixels=np.zeros((0, 2), np.int32),
        )
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(PointCloud)
    }
    return PointCloud(**columns)


def _view_dtype(views: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if views <= 1 << 16 else np.uint32
