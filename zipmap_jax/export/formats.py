"""The table of output formats of a scene."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from zipmap_jax.export.cameras import write_cameras
from zipmap_jax.export.depth_images import write_depth_images
from zipmap_jax.export.glb import write_glb
from zipmap_jax.export.html import MAX_PAGE_POINTS, write_html
from zipmap_jax.export.ply import write_ply
from zipmap_jax.scene.npz import save_scene

if TYPE_CHECKING:
    from zipmap_jax.scene.points import PointCloud
    from zipmap_jax.scene.scene import Scene


@dataclasses.dataclass(frozen=True)
class Request:
    """Input of the writers.

    Attributes:
      scene: the reconstruction.
      cloud: its confident points, thinned to the requested number.
      conf_threshold: percentage of the pixels left out of `cloud`.
      edge_threshold: threshold of the flying-pixel filter; None = no filter, see `point_cloud`.
      title: name of the reconstruction.
      notes: remarks of the user.
      depth_dtype: number format of depth and confidence in scene.npz.
    """

    scene: Scene
    cloud: PointCloud
    conf_threshold: float
    edge_threshold: float | None = None
    title: str = ""
    notes: str = ""
    depth_dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Quantities that determine the size of the files.

    Attributes:
      views, pixels: numbers of views, and of the pixels of all views.
      points: number of points of the clouds.
      half: depth and confidence are float16.
    """

    views: int
    pixels: int
    points: int
    half: bool = False


Writer = Callable[[Request, Path], list[Path]]


@dataclasses.dataclass(frozen=True)
class Format:
    """An output format.

    Attributes:
      write: function that writes the files into a folder and returns their paths.
      size: upper bound of the bytes of the files.
      about: contents, axes, units and resolution, as one paragraph of README.txt.
    """

    write: Writer
    size: Callable[[Sizes], int]
    about: str


def _html(request: Request, path: Path) -> None:
    write_html(
        request.scene,
        path,
        conf_threshold=request.conf_threshold,
        edge_threshold=request.edge_threshold,
        title=request.title,
        notes=request.notes,
    )


def _file(name: str, write: Callable[[Request, Path], object]) -> Writer:
    """The writer of one file."""

    def write_file(request: Request, folder: Path) -> list[Path]:
        write(request, folder / name)
        return [folder / name]

    return write_file


FORMATS: dict[str, Format] = {
    "html": Format(
        _file("scene.html", _html),
        lambda s: 200_000 + 25 * min(s.pixels, MAX_PAGE_POINTS) + 20_000 * s.views,
        "scene.html: the scene in a web browser; needs no network. World frame, scene unit. "
        "A sample of at most 400 000 points of every confidence; the slider hides doubtful ones.",
    ),
    "ply": Format(
        _file("points.ply", lambda r, path: write_ply(r.cloud, path)),
        lambda s: 1000 + 19 * s.points,
        "points.ply: coloured points (binary): x y z in the world frame, scene unit; sRGB "
        "colours; confidence (> 1). One point per chosen pixel of the images in scene.npz.",
    ),
    "glb": Format(
        _file("scene.glb", lambda r, path: write_glb(r.scene, r.cloud, path)),
        lambda s: 10_000 + 16 * s.points + 2000 * s.views,
        "scene.glb: the same points, with a frustum and a camera per view. glTF axes: x right, "
        "y up, z backward (the world frame turned by half a turn about x); scene unit.",
    ),
    "cameras": Format(
        _file("cameras.json", lambda r, path: write_cameras(r.scene, path)),
        lambda s: 1000 + 1500 * s.views,
        "cameras.json: per view name, width, height, fx fy cx cy (pixels of the original image), "
        "w2c and c2w (4x4, row by row, world frame, scene unit), time (seconds, null for "
        "photographs).",
    ),
    "npz": Format(
        _file("scene.npz", lambda r, path: save_scene(r.scene, path, r.depth_dtype)),
        lambda s: 3000 + 1000 * s.views + (7 if s.half else 11) * s.pixels,
        "scene.npz: everything, for NumPy: w2c, c2w [v,4,4], intrinsics [v,3,3] (pixels of "
        "images), depth [v,h,w] (z-depth, scene unit, NaN = unknown), confidence "
        "[v,h,w], images [v,h,w,3], names, times (seconds), network_size, "
        "original_sizes (height, width). Where "
        "the images differ in size: depth_0000, confidence_0000, images_0000 and so on. "
        "zipmap_jax.export.load_scene reads it back.",
    ),
    "depth": Format(
        lambda r, folder: write_depth_images(r.scene, folder / "depth"),
        lambda s: 2000 * s.views + s.pixels,
        "depth/*.png: previews, coloured linearly in 1/depth; "
        "near (bright) and far (dark) in the file name, scene unit; transparent = unknown. The "
        "numbers are in scene.npz.",
    ),
}
"""All output formats by name, in the order in which they are written."""
