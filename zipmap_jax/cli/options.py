"""Options that several verbs share."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from zipmap_jax.cli.loading import Precision
from zipmap_jax.cli.numbers import check_counts
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.export.options import ExportOptions
    from zipmap_jax.images.options import ReadOptions

Chunk = Annotated[
    int | None, arg(metavar="N", help_behavior_hint="(default: what free memory allows)")
]
EvenChunk = Annotated[
    int | None, arg(metavar="N", help_behavior_hint="(default: even chunks of at most 16)")
]
Folder = Annotated[
    Path | None, arg(aliases=("-o",), metavar="DIR", help_behavior_hint="(default: none)")
]
DepthType = Literal["float32", "float16"]
Mode = Literal["crop", "pad"]
Out = Annotated[Path, arg(aliases=("-o",), metavar="OUT", help_behavior_hint="(required)")]
Size = Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: the model's own)")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """Options of verbs that reconstruct scenes.

    Attributes:
      model: "tiny" (embedded; also tiny-streaming, tiny-query), a converted folder, or
        hf://owner/repo/file@revision.
      size: width of the network images in pixels.
      mode: crop tall pictures to a square, or pad every picture to a square.
      fps: frames per second of video.
      max_views: maximum number of views of a scene, evenly spaced.
      conf_threshold: percentage of points to leave out, the least confident first.
      output_size: maximum width and height of images, depth and confidence in the output; larger
        pictures are reduced. 0 = their own size.
      formats: files to write, such as html,npz: of html, ply, glb, cameras, npz, depth.
      points: maximum number of points in points.ply and scene.glb.
      depth_dtype: number format of depth and confidence in scene.npz.
      chunk: views per chunk; fewer need less memory and give the same result.
      precision: number format; auto is fp32 on the CPU and bf16 elsewhere.
      strict: fail at the first unreadable input instead of leaving it out.
      no_exif: ignore the orientation recorded in photographs and videos.
      json: print one JSON object instead of text.
    """

    out: Out
    model: str = "tiny"
    size: Size = None
    mode: Mode = "crop"
    fps: float = 1.0
    max_views: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all)")] = None
    conf_threshold: Annotated[float, arg(metavar="PERCENT")] = 50.0
    output_size: Annotated[int, arg(metavar="N")] = 768
    formats: Annotated[str | None, arg(metavar="NAMES", help_behavior_hint="(default: all)")] = None
    points: Annotated[int, arg(metavar="N")] = 1_000_000
    depth_dtype: DepthType = "float32"
    chunk: Chunk = None
    precision: Precision = "auto"
    strict: bool = False
    no_exif: bool = False
    json: bool = False

    def check(self) -> None:
        """Raise UserError for options that would make every scene fail."""
        check_counts(max_views=self.max_views, chunk=self.chunk, points=self.points)
        if not 0 <= self.conf_threshold <= 100:
            raise UserError(
                f"--conf-threshold is a percentage from 0 to 100, got {self.conf_threshold:g}: "
                "try 50"
            )
        if not 1e-6 <= self.fps < float("inf"):
            raise UserError(f"--fps must be a positive number, got {self.fps}: try 1")
        if self.output_size < 0:
            raise UserError(
                f"--output-size must be positive, or 0 for the pictures' own size, got "
                f"{self.output_size}: try 768"
            )
        self.export_options()

    def read_options(self, size: int | None) -> ReadOptions:
        """Options of reading, for network images of a size; None = the model's own."""
        from zipmap_jax.images.options import ReadOptions

        return ReadOptions(
            size=size,
            mode=self.mode,
            fps=self.fps,
            max_views=self.max_views,
            strict=self.strict,
            exif=not self.no_exif,
            output_size=self.output_size or None,
        )

    def export_options(self) -> ExportOptions:
        """Options of writing."""
        from zipmap_jax.export.options import ExportOptions, check_formats

        names = None
        if self.formats is not None:
            names = tuple(check_formats([name.strip() for name in self.formats.split(",")]))
        return ExportOptions(self.conf_threshold, self.points, names, self.depth_dtype)
