"""All outputs of a scene in one folder, described by its README.txt."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.export.formats import FORMATS, Request
from zipmap_jax.export.options import DepthType, check_formats
from zipmap_jax.export.output import README, check_output, readme_text, staged_folder
from zipmap_jax.files import printable
from zipmap_jax.scene.points import point_cloud

if TYPE_CHECKING:
    from zipmap_jax.scene.scene import Scene
    from zipmap_jax.structs import Progress


def write_all(
    scene: Scene,
    out: Path,
    *,
    conf_threshold: float = 50.0,
    max_points: int = 1_000_000,
    force: bool = False,
    notes: str = "",
    progress: Progress | None = None,
    edge_threshold: float | None = None,
    formats: Sequence[str] | None = None,
    depth_dtype: DepthType = "float32",
) -> list[Path]:
    """Writes a scene in the selected formats, completely or not at all.

    The files are written to a hidden folder in the same parent folder, which is then renamed.

    Args:
      scene: the reconstruction.
      out: the output folder; it and its parents are created.
      conf_threshold: percentage of the pixels left out of the point clouds, by ascending
        confidence.
      max_points: maximum number of points in points.ply and scene.glb.
      force: whether an existing `out` is replaced, if it is empty or contains only files that its
        README.txt lists as written by this program. Other files are never deleted.
      notes: text for README.txt and the web page.
      progress: called as `progress("export", done, total)` after each format.
      edge_threshold: threshold of the flying-pixel filter; None = no filter, see `point_cloud`.
      formats: keys of `FORMATS`; None = all.
      depth_dtype: number format of depth and confidence in scene.npz, "float32" or "float16", which
        has 11 significant bits and at most 65504.

    Returns:
      The files written, README.txt last.

    Raises:
      UserError: the scene is empty or not finite, or an argument is out of its range.
      OutputError: `out` exists, or cannot be written.
    """
    names = check_formats(formats)
    _check_scene(scene)
    out = Path(out)
    check_output(out, force=force)
    cloud = point_cloud(
        scene, conf_threshold=conf_threshold, max_points=max_points, edge_threshold=edge_threshold
    )
    title = printable(Path(out.absolute()).name)
    request = Request(scene, cloud, conf_threshold, edge_threshold, title, notes, depth_dtype)
    with staged_folder(out, force=force) as stage:
        paths: list[Path] = []
        for done, name in enumerate(names, 1):
            paths += FORMATS[name].write(request, stage)
            if progress is not None:
                progress("export", done, len(names))
        files = [path.relative_to(stage) for path in paths]
        body = _readme(request, names)
        text = readme_text(body, [file.as_posix() for file in files])
        (stage / README).write_text(text, encoding="utf-8")
    return [out / file for file in (*files, Path(README))]


def _check_scene(scene: Scene) -> None:
    if not len(scene):
        raise UserError("A scene has at least one view, and this one has none; add images.")
    for i, name in enumerate(scene.names):
        if not (np.isfinite(scene.w2c[i]).all() and np.isfinite(scene.intrinsics[i]).all()):
            raise UserError(
                f"Cameras are finite numbers, but that of view {i} ({name}) is not; "
                "leave this image out or compute in fp32."
            )
        sizes = {a[i].shape[:2] for a in (scene.images, scene.depth, scene.confidence)}
        if len(sizes) > 1:
            raise UserError(
                f"Image, depth and confidence are of one size, but view {i} ({name}) has "
                f"{sorted(sizes)}; resample them to the size of the image."
            )


def _readme(request: Request, formats: list[str]) -> str:
    scene = request.scene
    height, width = scene.network_size
    sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for image in scene.images})
    shown = ", ".join(sizes[:6]) + (" and others" if len(sizes) > 6 else "")
    parts = [
        f"{len(scene)} views, {shown} pixels (width x height)"
        + (f"; model: {scene.model}." if scene.model else "."),
        "World frame: that of the first camera, OpenCV axes (x right, y down, z forward).",
        "Scene unit: arbitrary, not metres; all lengths in these files share it.",
        "Cameras: w2c maps world to camera coordinates, c2w is its inverse. Pixel (column, row) "
        "has its centre at integer coordinates, (0, 0) at the top left of the image. "
        "Programs with pixel centres at half integers (COLMAP, nerfstudio, OpenGL) need cx + 0.5 "
        "and cy + 0.5.",
    ]
    if height > 0 and width > 0:
        parts.append(
            f"Resolution: the network worked at {width}x{height}; depth and confidence have the "
            "size of the images, and detail finer than the network's is interpolated."
        )
    reduced = sum(scene.original_size(i) != a.shape[:2] for i, a in enumerate(scene.images))
    if reduced:
        parts.append(
            f"Size: {reduced} images are reduced (--output-size), with their depth, confidence and "
            "intrinsics in scene.npz; cameras.json is for the original images."
        )
    parts.append(
        f"Point clouds: {len(request.cloud)} points; the least confident "
        f"{request.conf_threshold:g} % of the pixels are left out."
    )
    parts += [FORMATS[name].about for name in formats]
    parts = [textwrap.fill(part, 96, subsequent_indent="    ") for part in parts]
    if request.notes:
        parts.append(f"Notes\n-----\n{request.notes.strip()}")
    return "\n\n".join(parts)
