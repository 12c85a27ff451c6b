"""Pictures of predictions: images, depth, errors and points."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zipmap_jax.geometry import rebase_poses, unproject_to_world
from zipmap_jax.geometry.plausible import plausible_cameras
from zipmap_jax.viz.colormaps import apply_colormap, view_colors
from zipmap_jax.viz.splat import overview, splat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Bool, Float, UInt8

    from zipmap_jax.structs import Prediction
    from zipmap_jax.train.loop import Picture
    from zipmap_jax.train.state import TrainState

WORST = 0.5
"""Relative depth error at the bright end of the scale."""
CELL = 224
"""Width of the picture of one view, in pixels."""
MAX_POINTS = 200_000
"""Maximum number of points drawn of a cloud."""
_GAP, _LABEL = 6, 22
_GROUND, _INK, _UNKNOWN = (20, 21, 26), (205, 208, 215), (46, 47, 54)


def painter(
    predict: Callable[[Any, Any], Prediction],
    draw: Callable[[], Mapping[str, Any]],
    render: Callable[[Any, Mapping[str, Any]], tuple[Mapping[str, Any], Prediction]] | None = None,
) -> Picture:
    """Return a function that draws the prediction of a state's moving average for one scene.

    Args:
      predict: `predict(params, images) -> prediction`, jitted.
      draw: returns the batch, whose first scene is used: `images`, `depth`, `valid`, `intrinsics`
        and `w2c`. It is called once.
      render: `render(params, batch) -> views, prediction` returns some true and rendered views of
        the batch; None = nothing is rendered.
    """
    batches = functools.cache(draw)

    def picture(state: TrainState) -> UInt8[np.ndarray, "h w 3"]:
        batch = batches()
        host = jax.device_get(batch)
        page = sheet(host, jax.device_get(predict(state.ema, batch["images"])))
        if render is None:
            return page
        views, rendered = jax.device_get(render(state.ema, batch))
        return np.concatenate([page, rendered_sheet(views, rendered)])

    return picture


def sheet(
    batch: Mapping[str, np.ndarray], prediction: Prediction, scene: int = 0, max_views: int = 4
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a row per view (input, predicted and true depth, relative error) and both point clouds.

    Predicted depth is scaled by one ratio of medians per scene, as in the evaluation. Colours are
    linear in log depth between the 2 % and 98 % quantiles of the truth, near bright. The viewpoint
    of the clouds is behind and above the first camera.

    Args:
      batch: host arrays `images`, `depth`, `valid`, `intrinsics` and `w2c`.
      prediction: host arrays.
      scene: index in the batch.
      max_views: maximum number of views shown, evenly spaced; the clouds contain all views.

    Returns:
      The picture.
    """
    truth = {name: np.asarray(array[scene]) for name, array in batch.items()}
    aligned = _align(prediction, scene, truth)
    near, far = _range(truth["depth"], truth["valid"])
    rows = []
    for i in _spaced(len(truth["images"]), max_views):
        depth, known = truth["depth"][i], truth["valid"][i]
        error = np.abs(aligned.depth[i] - depth) / np.where(known, depth, 1)
        finite = np.isfinite(aligned.depth[i])
        rows.append(
            [
                _eight_bit(truth["images"][i]),
                _depth_picture(aligned.depth[i], finite, near, far),
                _depth_picture(depth, known, near, far),
                _mapped(error / WORST, known & finite),
            ]
        )
    titles = ("input", "predicted depth", "true depth", f"relative error, 0 to {WORST:.0%}")
    return _join(titles, rows, _clouds(aligned, truth))


def rendered_sheet(
    batch: Mapping[str, np.ndarray], prediction: Prediction, scene: int = 0, max_views: int = 4
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a row per view: rendered and true colour, rendered and true depth as in `sheet`.

    Args:
      batch: host arrays `images`, `depth` and `valid` of the views.
      prediction: host arrays `rgb` and `depth`.
      scene: index in the batch.
      max_views: maximum number of views shown, evenly spaced.

    Returns:
      The picture.
    """
    assert prediction.rgb is not None
    truth = {name: np.asarray(array[scene]) for name, array in batch.items()}
    rgb, depth = (np.asarray(x[scene]) for x in (prediction.rgb, prediction.depth))
    depth = depth * _ratio(depth, truth)
    near, far = _range(truth["depth"], truth["valid"])
    rows = [
        [
            _eight_bit(np.nan_to_num(rgb[i])),
            _eight_bit(truth["images"][i]),
            _depth_picture(depth[i], np.isfinite(depth[i]), near, far),
            _depth_picture(truth["depth"][i], truth["valid"][i], near, far),
        ]
        for i in _spaced(len(rgb), max_views)
    ]
    return _join(("rendered view", "true view", "rendered depth", "true depth"), rows, {})


def _spaced(count: int, maximum: int) -> list[int]:
    """At most `maximum` evenly spaced indices."""
    return sorted(set(np.linspace(0, count - 1, maximum).round().astype(int).tolist()))


@dataclasses.dataclass(frozen=True)
class _AlignedPrediction:
    """A prediction in the unit and the first camera's frame of the truth."""

    depth: Float[np.ndarray, "v h w"]
    w2c: Float[np.ndarray, "v 4 4"]
    intrinsics: Float[np.ndarray, "v 3 3"]


def _align(
    prediction: Prediction, scene: int, truth: Mapping[str, np.ndarray]
) -> _AlignedPrediction:
    """Invalid depth becomes NaN, and invalid cameras become plausible ones."""
    depth = np.asarray(prediction.depth[scene], np.float64)
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
    ratio = _ratio(depth, truth)
    w2c, intrinsics = (
        np.array(x, np.float64)[scene] for x in (prediction.w2c, prediction.intrinsics)
    )
    w2c, intrinsics, _ = plausible_cameras(w2c, intrinsics, depth.shape[-2:])
    w2c = rebase_poses(w2c)
    w2c[:, :3, 3] *= ratio
    return _AlignedPrediction(depth * ratio, w2c, intrinsics)


def _ratio(depth: Float[np.ndarray, "v h w"], truth: Mapping[str, np.ndarray]) -> float:
    """Median true depth over median predicted depth, where both are valid."""
    seen = truth["valid"] & np.isfinite(depth) & (depth > 0)
    return float(np.median(truth["depth"][seen]) / np.median(depth[seen])) if seen.any() else 1.0


def _clouds(
    aligned: _AlignedPrediction, truth: Mapping[str, np.ndarray]
) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    """Predicted and true points with cameras, from one viewpoint."""
    poses = rebase_poses(truth["w2c"].astype(np.float64))
    true = unproject_to_world(
        truth["depth"].astype(np.float64), truth["intrinsics"].astype(np.float64), poses
    )
    predicted = unproject_to_world(aligned.depth, aligned.intrinsics, aligned.w2c)
    seen = np.flatnonzero(truth["valid"])
    if not len(seen):
        return {}
    seen = seen[:: -(-len(seen) // MAX_POINTS)]
    viewer = overview(true.reshape(-1, 3)[seen])
    reach = float(np.median(truth["depth"].ravel()[seen]))
    colors = _eight_bit(truth["images"].reshape(-1, 3)[seen])

    def render(points: np.ndarray, cameras: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
        return splat(
            points.reshape(-1, 3)[seen],
            colors,
            viewer,
            (int(0.75 * CELL * 2), CELL * 2 + _GAP),
            background=_UNKNOWN,
            cameras=cameras,
            camera_colors=view_colors(len(cameras)),
            camera_size=0.06 * reach,
        )

    return {
        "predicted points and cameras": render(predicted, aligned.w2c),
        "true points and cameras": render(true, poses),
    }


def _range(depth: Float[np.ndarray, "*s"], known: Bool[np.ndarray, "*s"]) -> tuple[float, float]:
    if not known.any():
        return 1.0, 2.0
    near, far = np.percentile(depth[known], [2, 98])
    return float(near), float(max(far, near * 1.001))


def _depth_picture(
    depth: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"], near: float, far: float
) -> UInt8[np.ndarray, "h w 3"]:
    distance = np.log(far / np.where(known & (depth > 0), depth, far))
    return _mapped(distance / np.log(far / near), known)


def _mapped(
    values: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    return np.where(
        known[..., None], apply_colormap(np.where(known, values, 0)), np.array(_UNKNOWN, np.uint8)
    )


def _eight_bit(image: Float[np.ndarray, "*s 3"]) -> UInt8[np.ndarray, "*s 3"]:
    return (255 * np.clip(image, 0, 1) + 0.5).astype(np.uint8)


def _join(
    names: tuple[str, ...],
    rows: list[list[UInt8[np.ndarray, "h w 3"]]],
    wide: Mapping[str, UInt8[np.ndarray, "y x 3"]],
) -> UInt8[np.ndarray, "t s 3"]:
    """Arrange titled columns of cells, and wide pictures below them, on a dark background."""
    height = round(CELL * rows[0][0].shape[0] / rows[0][0].shape[1])
    width = len(names) * (CELL + _GAP) + _GAP
    top = _LABEL + len(rows) * (height + _GAP)
    below = max((_LABEL + picture.shape[0] + _GAP for picture in wide.values()), default=_GAP)
    page = Image.new("RGB", (width, top + below), _GROUND)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for column, name in enumerate(names):
        left = _GAP + column * (CELL + _GAP)
        pen.text((left + 2, 4), name, fill=_INK, font=font)
        for row, cells in enumerate(rows):
            cell = Image.fromarray(cells[column]).resize((CELL, height), Image.Resampling.BICUBIC)
            page.paste(cell, (left, _LABEL + row * (height + _GAP)))
    left = _GAP
    for name, picture in wide.items():
        pen.text((left + 2, top + 4), name, fill=_INK, font=font)
        page.paste(Image.fromarray(picture), (left, top + _LABEL))
        left += picture.shape[1] + _GAP
    return np.asarray(page)
