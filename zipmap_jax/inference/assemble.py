"""From a prediction to a `Scene` on the host: everything at the original size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from zipmap_jax.geometry.pixel_map import PixelMap
from zipmap_jax.geometry.plausible import PARTS, plausible_cameras
from zipmap_jax.geometry.pose import rebase_poses
from zipmap_jax.images.decode import Frame
from zipmap_jax.images.resample import depth_to_original
from zipmap_jax.scene.scene import Scene
from zipmap_jax.structs import Prediction, Progress

if TYPE_CHECKING:
    from jaxtyping import Float


def assemble(
    prediction: Prediction,
    frames: Sequence[Frame],
    pixel_maps: Sequence[PixelMap],
    *,
    model: str = "",
    align_first_view: bool = True,
    progress: Progress | None = None,
) -> Scene:
    """The scene that a prediction of one batch entry describes.

    Args:
      prediction: batch of one scene; views beyond `frames` are padding and are dropped.
      frames: the original images, one per view.
      pixel_maps: where each network image lies on its original.
      model: name for the record.
      align_first_view: make the first camera's frame the world frame, `E_i <- E_i E_0^-1`.
      progress: called as `progress("assembling", done, total)`.

    Raises:
      ValueError: the prediction holds no poses, several scenes or too few views.

    Source: ZipMap's offline demonstration.
    """
    _check(prediction, frames, pixel_maps)
    count = len(frames)
    depths = np.asarray(prediction.depth[0, :count])
    confidences = np.asarray(prediction.depth_conf[0, :count])
    network_size = (depths.shape[1], depths.shape[2])
    names = [frame.name for frame in frames]
    w2c, network_k = _with_plausible_cameras(prediction, count, network_size, names)
    if align_first_view:
        w2c = np.array(rebase_poses(cast("Any", w2c)))
        w2c[0] = np.eye(4)  # exactly, without the rounding
    resampled = []
    for i, pixel_map in enumerate(pixel_maps):
        resampled.append(depth_to_original(depths[i], confidences[i], pixel_map))
        if not np.isfinite(depths[i]).all():
            warnings.warn(
                f"the depth of view {names[i]} is not finite everywhere, those pixels are left "
                "empty: check the weights, or use fp32",
                stacklevel=2,
            )
        if progress:
            progress("assembling", i + 1, count)
    times = tuple(frame.time for frame in frames if frame.time is not None)
    return Scene(
        w2c=w2c,
        intrinsics=np.stack([m.to_original(k) for m, k in zip(pixel_maps, network_k, strict=True)]),
        depth=tuple(depth for depth, _ in resampled),
        confidence=tuple(confidence for _, confidence in resampled),
        images=tuple(frame.image for frame in frames),
        names=tuple(names),
        times=times if len(times) == count else None,
        network_size=network_size,
        model=model,
    )


def _with_plausible_cameras(
    prediction: Prediction, count: int, size: tuple[int, int], names: Sequence[str]
) -> tuple[Float[np.ndarray, "v 4 4"], Float[np.ndarray, "v 3 3"]]:
    """Cameras in float64; a warning names each view whose camera had to be replaced."""
    w2c, intrinsics = (
        np.asarray(x, np.float64)[0, :count]  # type: ignore[index]
        for x in (prediction.w2c, prediction.intrinsics)
    )
    w2c, intrinsics, replaced = plausible_cameras(w2c, intrinsics, size)
    for name, flags in zip(names, replaced, strict=True):
        if broken := [part for part, flag in zip(PARTS, flags, strict=True) if flag]:
            warnings.warn(
                f"the model gave view {name} an impossible {' and '.join(broken)}, which is "
                "replaced: do not trust this camera",
                stacklevel=3,
            )
    return w2c, intrinsics


def _check(prediction: Prediction, frames: Sequence[Frame], pixel_maps: Sequence[PixelMap]) -> None:
    if prediction.w2c is None or prediction.intrinsics is None:
        raise ValueError(
            "a scene needs camera poses, and the prediction has none (rays were read): "
            "assemble the prediction of an update"
        )
    batch, views = prediction.depth.shape[:2]
    if batch != 1 or not 0 < len(frames) == len(pixel_maps) <= views:
        raise ValueError(
            "a scene needs one batch entry and one frame and pixel map per view, got batch "
            f"{batch}, {views} views, {len(frames)} frames and {len(pixel_maps)} pixel maps: "
            "select one batch entry and pass its frames"
        )
