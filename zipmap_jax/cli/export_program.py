"""`zipmap export-program`: writes a reconstruction program that needs no model code."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Annotated, Literal

from tyro.conf import arg

from zipmap_jax.cli.loading import Precision, load_model
from zipmap_jax.cli.numbers import parse_size
from zipmap_jax.cli.options import Out
from zipmap_jax.errors import UserError
from zipmap_jax.streams import print_result


@dataclasses.dataclass(frozen=True)
class ExportProgram:
    """Export a reconstruction as one JAX program: images in; cameras, depth and points out.

    The weights are written to a second file, which programs of other shapes share.
    zipmap_jax.load_program(OUT) loads both. Needs the extra "export".

    Attributes:
      out: file to write.
      views: maximum number of images; fewer are padded, which is exact.
      scenes: scenes per call; more than 1 add a leading axis to images and outputs.
      size: height x width of the images in pixels.
      model: "tiny" (embedded; also tiny-streaming, tiny-query), a converted folder, or
        hf://owner/repo/file@revision.
      input: number format of the images, 0 to 255 or 0 to 1.
      platforms: platforms of the program, separated by commas.
      chunk: views per chunk.
      precision: number format; auto is bf16 if the platforms are accelerators, else fp32.
      force: replace OUT if it exists.
      json: print one JSON object instead of text.
    """

    out: Out
    views: Annotated[int, arg(metavar="N", help_behavior_hint="(required)")]
    size: Annotated[str, arg(metavar="HxW", help_behavior_hint="(required)")]
    scenes: Annotated[int, arg(metavar="N")] = 1
    model: str = "tiny"
    input: Literal["uint8", "float32"] = "uint8"
    platforms: str = "cpu,cuda"
    chunk: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: 16, or all if fewer)")
    ] = None
    precision: Precision = "auto"
    force: bool = False
    json: bool = False

    def __call__(self) -> int:
        from zipmap_jax.inference.export_program import export_program
        from zipmap_jax.inference.program_file import require_flatbuffers

        require_flatbuffers()
        if self.out.is_dir():
            raise UserError(f"{self.out} is a folder: name a file in it")
        if self.out.exists() and not self.force:
            raise UserError(f"{self.out} exists: choose another name, or replace it with --force")
        platforms = [name.strip() for name in self.platforms.split(",")]
        precision = self.precision
        if precision == "auto":
            precision = "fp32" if "cpu" in platforms else "bf16"
        size = parse_size(self.size)
        began = time.monotonic()
        facts, weights = export_program(
            load_model(self.model, precision),
            self.out,
            views=self.views,
            size=size,
            scenes=self.scenes,
            input_type=self.input,
            chunk=self.chunk,
            platforms=platforms,
        )
        seconds = round(time.monotonic() - began, 1)
        if self.json:
            print_result(json.dumps({**facts, "out": str(self.out), "weights": str(weights)}))
            return 0
        of_each = f"{self.scenes} scenes of up to " if self.scenes > 1 else ""
        lines = [
            f"program: {self.out.stat().st_size / 1e6:.1f} MB, for {', '.join(platforms)}",
            f"weights: {weights}, {weights.stat().st_size / 1e6:.1f} MB",
            f"inputs: up to {of_each}{self.views} {self.input} images of {size[0]}x{size[1]}",
            f"outputs: {', '.join(facts['outputs'])}",
            f"seconds: {seconds}",
            str(self.out),
        ]
        print_result("\n".join(lines))
        return 0
