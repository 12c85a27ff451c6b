"""The coloured point cloud of a scene: which pixels are kept, and where they lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8, UInt16

    from zipmap_jax.scene.scene import Scene

# Confidences beyond this number are thinned before the percentile is taken, to bound memory.
_PERCENTILE_SAMPLES = 50_000_000


@dataclasses.dataclass(frozen=True)
class PointCloud:
    """Points of a scene, ordered by view and then by pixel.

    Attributes:
      positions: world coordinates (OpenCV axes of the first camera, the scene's unit).
      colors: sRGB.
      depth: z-depth in the view the point was seen in, in the scene's unit.
      confidence: depth confidence (> 1 as the network gives it).
      view: index of the view each point was seen in.
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
        """The points at `index`, in its order."""
        return PointCloud(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def scale(self) -> float:
        """Size of the scene: length of the 5 % to 95 % box diagonal, 1 if that is zero.

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

    A pixel is kept where its depth is known and `confidence >= percentile(conf_threshold)` and
    `confidence > 1e-5`; the percentile is taken over all selected views together.

    Args:
      scene: the reconstruction.
      conf_threshold: percent of the pixels to leave out, the least confident first; 0 keeps all.
      max_points: thins the cloud evenly to this number; None keeps every point.
      views: indices of the views to use; None = all.
      edge_threshold: off when None (the default, as in the reference). A number drops the flying
        pixels at depth discontinuities: those whose depth differs from that of a neighbour, one
        network pixel away, by more than this fraction of the smaller depth. 0.05 to 0.1 suits
        most scenes; it also removes surfaces seen at a grazing angle.
      sampling: "random" picks one pixel at random from each of `max_points` equal runs of
        pixels, "stride" the first of each.
      seed: of the random choice; the same seed gives the same points.

    Returns:
      At most `max_points` points.

    Raises:
      UserError: an argument out of its range.

    Source: ZipMap's reference demo, point cloud filter.
    """
    chosen = _check(scene, conf_threshold, max_points, views, edge_threshold, sampling)
    threshold = confidence_threshold(scene, conf_threshold, views=chosen)
    masks = (_kept(scene, i, threshold, edge_threshold) for i in chosen)
    # Bits, not indices: a thousand 12-megapixel views still fit in memory.
    packed = [(np.count_nonzero(mask), np.packbits(mask)) for mask in masks]
    counts = np.array([count for count, _ in packed], dtype=np.int64)
    ranks = _thin(int(counts.sum()), max_points, sampling, seed)
    ends = np.cumsum(counts)
    parts = []
    for i, count, end, (_, bits) in zip(chosen, counts, ends, packed, strict=True):
        first, last = np.searchsorted(ranks, [end - count, end])
        if first == last:
            continue
        mask = np.unpackbits(bits, count=scene.depth[i].size).view(bool)
        parts.append(_unproject(scene, i, np.flatnonzero(mask)[ranks[first:last] - (end - count)]))
    return _join(parts, len(scene))


def confidence_threshold(
    scene: Scene, percentile: float, *, views: Sequence[int] | None = None
) -> float:
    """The confidence below which `percentile` percent of the seen pixels lie.

    Args:
      scene: the reconstruction.
      percentile: in percent; 0 gives 0, so that nothing is left out.
      views: indices of the views counted; None = all.

    Returns:
      The threshold, in the unit of `Scene.confidence`.
    """
    if percentile == 0:
        return 0.0
    chosen = range(len(scene)) if views is None else views
    total = sum(scene.depth[i].size for i in chosen)
    step = -(-total // _PERCENTILE_SAMPLES) or 1
    seen = [scene.confidence[i].ravel()[::step][_seen(scene, i).ravel()[::step]] for i in chosen]
    values = np.concatenate(seen) if seen else np.zeros(0, np.float32)
    return float(np.percentile(values, percentile)) if values.size else 0.0


def depth_edges(
    depth: Float[np.ndarray, "h w"], threshold: float, step: int = 1
) -> Bool[np.ndarray, "h w"]:
    """Pixels beside a jump in depth: `|d - d'| > threshold * min(d, d')`.

    Args:
      depth: z-depth; NaN where unknown (no edge against the unknown).
      threshold: relative jump.
      step: distance in pixels of the four neighbours d' compared with.

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
    """The selected views, once every argument is found to be in its range."""
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
    chosen = list(range(len(scene))) if views is None else [int(i) for i in views]
    for i in chosen:
        if not 0 <= i < len(scene):
            raise UserError(
                f"The scene has views 0 to {len(scene) - 1}, not {i}; select among these."
            )
    return chosen


def _seen(scene: Scene, view: int) -> Bool[np.ndarray, "h w"]:
    depth, confidence = scene.depth[view], scene.confidence[view]
    return (depth > 0) & np.isfinite(depth) & np.isfinite(confidence)


def _kept(
    scene: Scene, view: int, threshold: float, edge_threshold: float | None
) -> Bool[np.ndarray, "h w"]:
    confidence = scene.confidence[view]
    keep = _seen(scene, view) & (confidence >= threshold) & (confidence > 1e-5)
    if edge_threshold is None:
        return keep
    # Depth finer than the network's grid is interpolated, which spreads a jump over several pixels.
    height, width = scene.depth[view].shape
    network_height, network_width = scene.network_size
    step = 1
    if network_height > 0 and network_width > 0:
        step = max(1, round(max(height / network_height, width / network_width)))
    return keep & ~depth_edges(scene.depth[view], edge_threshold, step)


def _thin(total: int, most: int | None, sampling: str, seed: int) -> Int[np.ndarray, " n"]:
    """Sorted distinct numbers below `total`, one from each of `most` equal runs."""
    if most is None or total <= most:
        return np.arange(total)
    edges = np.arange(most + 1, dtype=np.int64) * total // most
    if sampling == "stride":
        return edges[:-1]
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def _unproject(scene: Scene, view: int, index: Int[np.ndarray, " n"]) -> PointCloud:
    """The pixels of one view at flat `index`."""
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
