"""`zipmap run`: reconstructs a scene from photographs or video."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from zipmap_jax.cli.loading import load_model
from zipmap_jax.cli.options import SceneOptions
from zipmap_jax.cli.outputs import PAGE, announce
from zipmap_jax.cli.progress import progress

if TYPE_CHECKING:
    from zipmap_jax.inference.compile import Program
    from zipmap_jax.inference.scene_plan import ScenePlan


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
        self.check()
        began = time.monotonic()
        model = load_model(self.model, self.precision)
        from zipmap_jax.inference.reconstruct import reconstruct

        with progress() as report:
            scene = reconstruct(
                model,
                list(self.inputs),
                **dataclasses.asdict(self.read_options(self.size)),
                chunk=self.chunk,
                devices=self.devices,
                scratch=existing_parent(self.out),
                progress=report,
                on_plan=self._on_plan,
                on_program=print_program,
            )
            export = self.export_options().arguments
            write_all(scene, self.out, **export, force=self.force, progress=report)
        height, width = scene.network_size
        facts = {
            "model": scene.model,
            "views": len(scene),
            "network_size": f"{width}x{height}",
            "seconds": round(time.monotonic() - began, 1),
        }
        page = self.out / PAGE
        announce(
            facts, {"out": self.out, "open": page if page.exists() else self.out}, as_json=self.json
        )
        return 0

    def _on_plan(self, plan: ScenePlan) -> None:
        from zipmap_jax.export.options import output_bytes

        print_estimate(plan)
        sizes = plan.workload.original_sizes
        size = output_bytes(sizes, self.export_options())
        print_output_size(self.out, size, len(sizes), "view")


def print_output_size(out: Path, size: int, count: int, what: str) -> None:
    """Print on stderr how many bytes will be written, for a number of views or scenes.

    Raises:
      OutputError: the disk has less space.
    """
    from zipmap_jax.export.options import check_free_space, megabytes

    plural = "s" * (count != 1)
    print(f"output: up to {megabytes(size)} for {count} {what}{plural}", file=sys.stderr)
    check_free_space(out, size)


def print_estimate(plan: ScenePlan) -> None:
    """Print the memory estimate of a plan on stderr."""
    print(plan.estimate.text, plan.estimate.parts, sep="\n", file=sys.stderr)


def print_program(program: Program) -> None:
    """Print a compiled program on stderr."""
    print(program.text, file=sys.stderr)
