"""`zipmap run`: photographs or video in, a reconstruction out."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from zipmap_jax.cli.loading import Precision, load_model
from zipmap_jax.cli.outputs import announce
from zipmap_jax.cli.progress import progress
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.inference.compile import Program
    from zipmap_jax.inference.memory import MemoryEstimate


@dataclasses.dataclass(frozen=True)
class Run:
    """Reconstruct cameras, depth and points from photographs or video.

    Attributes:
      inputs: folders, image files, globs or videos, in order.
      out: folder to write; must not exist.
      model: "tiny" (embedded; also tiny-streaming, tiny-query), a converted folder, or
        hf://owner/repo/file@revision.
      size: working width in pixels.
      mode: crop tall pictures to a square, or pad every picture to one.
      fps: frames taken per second of video.
      max_views: at most this many views, evenly spaced.
      conf_threshold: percentage of points to leave out, the least confident first.
      chunk: views worked on at once; fewer need less memory, the result stays the same.
      devices: GPUs that share the views of the scene; the result stays the same.
      precision: number format; auto is fp32 on the CPU and bf16 elsewhere.
      strict: stop at the first unreadable input instead of leaving it out.
      no_exif: ignore the orientation recorded in photographs and videos.
      force: replace OUT if it exists.
      json: print one JSON object instead of text.
    """

    inputs: Annotated[Positional[tuple[str, ...]], arg(metavar="INPUT...", help_behavior_hint="")]
    out: Annotated[Path, arg(aliases=("-o",), metavar="OUT", help_behavior_hint="(required)")]
    model: str = "tiny"
    size: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: the model's own)")
    ] = None
    mode: Literal["crop", "pad"] = "crop"
    fps: float = 1.0
    max_views: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all)")] = None
    conf_threshold: Annotated[float, arg(metavar="PERCENT")] = 50.0
    chunk: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: what free memory allows)")
    ] = None
    devices: Annotated[int, arg(metavar="N")] = 1
    precision: Precision = "auto"
    strict: bool = False
    no_exif: bool = False
    force: bool = False
    json: bool = False

    def __call__(self) -> int:
        from zipmap_jax.export import check_output, existing_parent, write_all

        # Before the work, not after it.
        check_output(self.out, force=self.force)
        check_percentage(self.conf_threshold)
        began = time.monotonic()
        model = load_model(self.model, self.precision)
        from zipmap_jax.inference.reconstruct import reconstruct

        with progress() as report:
            scene = reconstruct(
                model,
                list(self.inputs),
                size=self.size,
                mode=self.mode,
                chunk=self.chunk,
                devices=self.devices,
                max_views=self.max_views,
                fps=self.fps,
                strict=self.strict,
                exif=not self.no_exif,
                scratch=existing_parent(self.out),
                progress=report,
                on_estimate=print_estimate,
                on_program=print_program,
            )
            write_all(
                scene,
                self.out,
                conf_threshold=self.conf_threshold,
                force=self.force,
                progress=report,
            )
        height, width = scene.network_size
        facts = {
            "model": scene.model,
            "views": len(scene),
            "network_size": f"{width}x{height}",
            "seconds": round(time.monotonic() - began, 1),
        }
        announce(self.out, facts, as_json=self.json)
        return 0


def check_percentage(value: float) -> None:
    """Refuse a confidence threshold that the writer would refuse after the work."""
    if not 0 <= value <= 100:
        raise UserError(f"--conf-threshold is a percentage from 0 to 100, got {value:g}: try 50")


def print_estimate(estimate: MemoryEstimate) -> None:
    """On stderr, before anything is decoded."""
    print(estimate.text, estimate.parts, sep="\n", file=sys.stderr)


def print_program(program: Program) -> None:
    """On stderr, before the work."""
    print(program.text, file=sys.stderr)
