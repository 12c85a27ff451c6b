"""Assembly of predictions as a `Scene` at the size of the frames."""

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
from zipmap_jax.scene.store import SceneStore
from zipmap_jax.structs import Prediction, Progress

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

MAX_PIXEL_ASPECT = 1.1
"""Largest fy/fx, or fx/fy, of a scene without a warning."""


class SceneBuilder:
    """A scene to which views are added in order, each as its frame and then its prediction.

    Attributes:
      store: colours, depth and confidence.
    """

    def __init__(
        self, store: SceneStore, *, model: str = "", align_first_view: bool = True
    ) -> None:
        """Creates a scene without views.

        Args:
          store: an empty store.
          model: name of the model.
          align_first_view: make the first camera's frame the world frame, `E_i <- E_i E_0^-1`.
        """
        self.store, self._model, self._align = store, model, align_first_view
        self._names: list[str] = []
        self._times: list[float | None] = []
        self._sizes: list[tuple[int, int]] = []
        self._pixel_maps: list[PixelMap] = []
        self._cameras: list[tuple[np.ndarray, np.ndarray]] = []

    def __len__(self) -> int:
        return len(self._names)

    def add_frame(self, frame: Frame) -> None:
        """Adds the image of the next view."""
        self.store.images.append(frame.image)
        self._sizes.append(frame.original_size or frame.image.shape[:2])
        self._names.append(frame.name)
        self._times.append(frame.time)

    def add_predictions(
        self,
        prediction: Prediction,
        pixel_maps: Sequence[PixelMap],
        progress: Progress | None = None,
    ) -> None:
        """Adds the predictions of the next views, whose frames were added before.

        Args:
          prediction: host arrays of one scene; views beyond `pixel_maps` are padding.
          pixel_maps: the map from each network image to its original.
          progress: called as `progress("assembling", done, total)`.
        """
        count = len(pixel_maps)
        w2c, network_k = (np.asarray(x)[0] for x in (prediction.w2c, prediction.intrinsics))
        for i, pixel_map in enumerate(pixel_maps):
            depth = np.asarray(prediction.depth[0, i])
            if not np.isfinite(depth).all():
                warnings.warn(
                    f"the depth of view {self._names[len(self._cameras)]} is not finite "
                    "everywhere and empty at these pixels: check the weights, or use fp32",
                    stacklevel=3,
                )
            confidence = np.asarray(prediction.depth_conf[0, i])
            depth, confidence = depth_to_original(depth, confidence, pixel_map)
            self.store.depth.append(depth)
            self.store.confidence.append(confidence)
            self._cameras.append((np.array(w2c[i]), np.array(network_k[i])))
            self._pixel_maps.append(pixel_map)
            if progress:
                progress("assembling", i + 1, count)

    def scene(self) -> Scene:
        """Returns the scene of all views that have a prediction."""
        network_size = self._pixel_maps[0].network_size
        w2c, network_k = (np.stack(x) for x in zip(*self._cameras, strict=True))
        w2c, network_k, known = _with_plausible_cameras(w2c, network_k, network_size, self._names)
        if self._align:
            w2c = np.array(rebase_poses(cast("Any", w2c)))
            w2c[0] = np.eye(4)  # without rounding errors
        times = tuple(time for time in self._times if time is not None)
        pairs = zip(self._pixel_maps, network_k, strict=True)
        intrinsics = np.stack([pixel_map.to_original(k) for pixel_map, k in pairs])
        _warn_of_stretched_pixels(intrinsics[known], self._model)
        return Scene(
            w2c=w2c,
            intrinsics=intrinsics,
            depth=self.store.depth,
            confidence=self.store.confidence,
            images=self.store.images,
            names=tuple(self._names),
            times=times if len(times) == len(self) else None,
            network_size=network_size,
            model=self._model,
            original_sizes=tuple(self._sizes),
        )


def assemble(
    prediction: Prediction,
    frames: Sequence[Frame],
    pixel_maps: Sequence[PixelMap],
    *,
    model: str = "",
    align_first_view: bool = True,
    progress: Progress | None = None,
) -> Scene:
    """Assembles the prediction of one scene, in memory.

    Args:
      prediction: batch of one scene; views beyond `frames` are padding.
      frames: the original images, one per view.
      pixel_maps: the map from each network image to its original.
      model, align_first_view: see `SceneBuilder`.
      progress: called as `progress("assembling", done, total)`.

    Raises:
      ValueError: the prediction holds no cameras, several scenes or too few views.

    Source: ZipMap's offline demonstration.
    """
    _check(prediction, frames, pixel_maps)
    builder = SceneBuilder(SceneStore(), model=model, align_first_view=align_first_view)
    for frame in frames:
        builder.add_frame(frame)
    builder.add_predictions(prediction, pixel_maps, progress)
    return builder.scene()


def _with_plausible_cameras(
    w2c: Float[np.ndarray, "v 4 4"],
    intrinsics: Float[np.ndarray, "v 3 3"],
    size: tuple[int, int],
    names: Sequence[str],
) -> tuple[Float[np.ndarray, "v 4 4"], Float[np.ndarray, "v 3 3"], Bool[np.ndarray, " v"]]:
    """Cameras in float64, and where intrinsics are the model's.

    A warning names each view with an impossible camera.
    """
    w2c, intrinsics = np.asarray(w2c, np.float64), np.asarray(intrinsics, np.float64)
    w2c, intrinsics, replaced = plausible_cameras(w2c, intrinsics, size)
    for name, flags in zip(names, replaced, strict=True):
        if broken := [part for part, flag in zip(PARTS, flags, strict=True) if flag]:
            warnings.warn(
                f"the model predicted an impossible {' and '.join(broken)} for view {name}, which "
                "is replaced: ignore this camera",
                stacklevel=3,
            )
    return w2c, intrinsics, ~replaced[:, PARTS.index("field of view")]


def _warn_of_stretched_pixels(intrinsics: Float[np.ndarray, "v 3 3"], model: str) -> None:
    """Warns once if pixels of the originals are not square, as they are for nearly all cameras."""
    ratios = intrinsics[:, 1, 1] / intrinsics[:, 0, 0]
    ratio = float(np.median(ratios)) if len(ratios) else 1.0
    if max(ratio, 1 / ratio) > MAX_PIXEL_ASPECT:
        warnings.warn(
            f"fy/fx is {ratio:.2f} (median of {len(ratios)} views), but pixels of cameras are "
            f"square: {model or 'the model'} was not trained for images of this shape or field of "
            "view, and the geometry is stretched; crop the images to 4:3 landscape or use another "
            "model",
            stacklevel=3,
        )


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
