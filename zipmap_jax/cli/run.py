"""`zipmap run`: reconstructs a scene from photographs or video."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from zipmap_jax.cli.loading import load_model
from zipmap_jax.cli.options import SceneOptions
from zipmap_jax.cli.outputs import PAGE, announce
from zipmap_jax.cli.progress import progress
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.inference.compile import Program
    from zipmap_jax.inference.memory import MemoryEstimate


@dataclasses.dataclass(frozen=True)
class Run(SceneOptions):
    """Reconstruct cameras, depth and points from photographs or video.

    Attributes:
      inputs: folders, image files, globs or videos, in order.
      out: folder to write; must not exist.
      devices: GPUs that share the views of the scene; the result stays the same.
      force: replace OUT if it exists.
    """

    inputs: Annotated[Positional[tuple[str, ...]], arg(metavar="INPUT...", help_behavior_hint="")]
    devices: Annotated[int, arg(metavar="N")] = 1
    force: bool = False

    def __call__(self) -> int:
        from zipmap_jax.export import check_output, existing_parent, write_all

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
        announce(facts, {"out": self.out, "open": self.out / PAGE}, as_json=self.json)
        return 0


def check_percentage(value: float) -> None:
    """Raise UserError for an invalid confidence threshold, before the reconstruction."""
    if not 0 <= value <= 100:
        raise UserError(f"--conf-threshold is a percentage from 0 to 100, got {value:g}: try 50")


def print_estimate(estimate: MemoryEstimate) -> None:
    """Print a memory estimate on stderr."""
    print(estimate.text, estimate.parts, sep="\n", file=sys.stderr)


def print_program(program: Program) -> None:
    """Print a compiled program on stderr."""
    print(program.text, file=sys.stderr)
