"""`zipmap demo`: reconstructs a rendered scene and compares it with the truth."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from zipmap_jax.cli.loading import Precision, load_model
from zipmap_jax.cli.outputs import PAGE, announce
from zipmap_jax.cli.progress import progress
from zipmap_jax.cli.run import print_estimate
from zipmap_jax.errors import UserError
from zipmap_jax.streams import print_result

if TYPE_CHECKING:
    import numpy as np

    from zipmap_jax.structs import Progress

HEIGHT, WIDTH = 168, 224
METRICS = ("AbsRel", "delta<1.25", "RRA@30", "RTA@30", "AUC@30")
MODEL = "tiny"
SCENE = 18
"""A cluttered room with cameras around it, so that the trivial prediction is poor."""


@dataclasses.dataclass(frozen=True)
class Demo:
    """Reconstruct a rendered scene outside the embedded model's training, and show the errors.

    Attributes:
      out: folder to write; must not exist.
      scene: number of the scene.
      views: number of pictures of the scene.
      precision: number format; auto is fp32 on the CPU and bf16 elsewhere.
      force: replace OUT if it exists.
      json: print one JSON object instead of text.
    """

    out: Annotated[Path, arg(aliases=("-o",), metavar="OUT")] = Path("demo")
    scene: Annotated[int, arg(metavar="N")] = SCENE
    views: Annotated[int, arg(metavar="N")] = 8
    precision: Precision = "auto"
    force: bool = False
    json: bool = False

    def __call__(self) -> int:
        from zipmap_jax.export import check_output, write_all

        check_output(self.out, force=self.force)
        check_request(self.scene, self.views)
        began = time.monotonic()
        model = load_model(MODEL, self.precision)
        import numpy as np

        from zipmap_jax.eval.comparison import Comparison
        from zipmap_jax.eval.report import table
        from zipmap_jax.inference.reconstruct import reconstruct

        with progress() as report:
            truth = render(self.scene, self.views, report)
            scene = reconstruct(model, truth["images"], progress=report, on_plan=print_estimate)
            predicted = (np.stack(scene.depth), scene.w2c, scene.intrinsics)
            numbers = Comparison().with_scene(*predicted, truth).numbers()
            errors = {
                method: {name: row[name] for name in METRICS} for method, row in numbers.items()
            }
            pairs = "\n".join(
                f"{name} {value:.3f}, trivial {errors['trivial'][name]:.3f}"
                for name, value in errors["model"].items()
            )
            notes = (
                f"Held-out procedural scene {self.scene}; the trivial prediction is a constant "
                f"depth and the same pose for every view.\n\n{pairs}"
            )
            write_all(scene, self.out, force=self.force, notes=notes, progress=report)
        facts: dict[str, Any] = {
            "model": scene.model,
            "views": len(scene),
            "seconds": round(time.monotonic() - began, 1),
        }
        if self.json:
            facts["errors"] = errors
        else:
            print_result(table(errors, METRICS) + "\n")
        announce(facts, {"out": self.out, "open": self.out / PAGE}, as_json=self.json)
        return 0


def check_request(scene: int, views: int) -> None:
    """Raise UserError for scenes that do not exist and for fewer than two views."""
    if not 0 <= scene < 2**32:
        raise UserError(f"--scene must be from 0 to {2**32 - 1}, got {scene}: leave it out")
    if views < 2:
        raise UserError(f"--views must be at least 2 to compare poses, got {views}: leave it out")


def render(scene: int, views: int, report: Progress) -> dict[str, np.ndarray]:
    """One held-out scene on the host: images, depth, validity and cameras of every view."""
    import jax

    from zipmap_jax.procedural import ProceduralConfig, held_out_batch

    report("rendering", 0, 1)
    config = ProceduralConfig(views=views, height=HEIGHT, width=WIDTH)
    batch = jax.device_get(held_out_batch(config, scene, 1))
    report("rendering", 1, 1)
    return {name: array[0] for name, array in batch.items()}
