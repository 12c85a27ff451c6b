"""`zipmap batch`: reconstructs every scene of a folder."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from zipmap_jax.cli.loading import load_model
from zipmap_jax.cli.numbers import check_counts
from zipmap_jax.cli.options import SceneOptions
from zipmap_jax.cli.outputs import announce
from zipmap_jax.cli.progress import PlainLines
from zipmap_jax.cli.run import print_output_size, print_program

if TYPE_CHECKING:
    from zipmap_jax.batch.journal import Record
    from zipmap_jax.batch.plan import BatchOptions, PlannedScene
    from zipmap_jax.convert.hub import LoadedModel

FAILED = 1
"""Exit code when at least one scene failed."""
MANIFEST_EVERY = 10.0
"""Seconds between two writes of the manifest."""


@dataclasses.dataclass(frozen=True)
class Batch(SceneOptions):
    """Reconstruct every scene of a folder: folders of images, and videos.

    Each scene is written to OUT/NAME like the output of zipmap run; OUT/manifest.json lists the
    outcomes. The same command resumes a stopped run: finished scenes are kept, failed ones
    repeated.

    Attributes:
      scenes: folder of folders of images, or of videos.
      out: folder to write or to resume.
      batch_size: scenes per program.
      process: share of the scenes, I from 0, for N processes that write to the same OUT.
    """

    scenes: Annotated[Positional[Path], arg(metavar="SCENES", help_behavior_hint="")]
    batch_size: Annotated[int, arg(metavar="N")] = 1
    process: Annotated[
        str | None,
        arg(metavar="I/N", help_behavior_hint="(default: JAX_PROCESS_ID of JAX_NUM_PROCESSES)"),
    ] = None

    def __call__(self) -> int:
        from zipmap_jax.batch.journal import Journal
        from zipmap_jax.batch.run import run_batch
        from zipmap_jax.batch.scenes import list_scenes, share, which_process

        check_counts(batch_size=self.batch_size)
        self.check()
        process = which_process(self.process)
        scenes = list_scenes(self.scenes, self.out)
        began = time.monotonic()
        model = load_model(self.model, self.precision)
        options = self._options(model)
        settings = self._settings(options, model.fingerprint)
        own_scenes = share(scenes, *process)
        journal = Journal(self.out, process)
        journal.open(settings)
        written = 0.0

        def on_record(record: Record, number: int, total: int) -> None:
            nonlocal written
            print_record(record, number, total)
            if time.monotonic() - written > MANIFEST_EVERY:
                journal.write_manifest(self.scenes, scenes, settings, settle=False)
                written = time.monotonic()

        try:
            records = run_batch(
                model,
                own_scenes,
                journal,
                options,
                on_record=on_record,
                on_program=print_program,
                on_plan=self._check_space,
                progress=PlainLines(),
            )
        finally:
            try:
                journal.write_manifest(self.scenes, scenes, settings)
            finally:
                journal.close()
        self._report(records, len(own_scenes), time.monotonic() - began)
        return FAILED if any(record.status == "failed" for record in records) else 0

    def _options(self, model: LoadedModel) -> BatchOptions:
        from zipmap_jax.batch.plan import BatchOptions
        from zipmap_jax.inference.options import ComputeOptions
        from zipmap_jax.inference.scene_plan import default_size

        size = default_size(model) if self.size is None else self.size
        model.model.preparation.resized_shape((size, size), size, self.mode)
        return BatchOptions(
            self.read_options(size),
            ComputeOptions(self.chunk),
            self.export_options(),
            self.batch_size,
        )

    def _check_space(self, planned: Sequence[PlannedScene]) -> None:
        """Print the size of the output, which must fit on the disk."""
        from zipmap_jax.export.options import output_bytes

        options = self.export_options()
        sizes = [output_bytes(scene.workload.original_sizes, options) for scene in planned]
        print_output_size(self.out, sum(sizes), len(sizes), "scene")

    def _settings(self, options: BatchOptions, weights: str) -> dict[str, Any]:
        """Settings that affect the results beyond rounding, equal in all runs of a batch."""
        names = ("model", "mode", "fps", "max_views", "conf_threshold", "precision", "strict")
        names += ("output_size", "formats", "points", "depth_dtype")
        return {
            "scenes": self.scenes.resolve().name,  # the path may differ between machines
            **{name: getattr(self, name) for name in names},
            "weights": weights,
            "size": options.read.size,
            "no_exif": self.no_exif,
        }

    def _report(self, records: list[Record], total: int, seconds: float) -> None:
        failed = sum(record.status == "failed" for record in records)
        facts = {
            "scenes": total,
            "done": len(records) - failed,
            "failed": failed,
            "finished_before": total - len(records),
            "seconds": round(seconds, 1),
        }
        paths = {"out": self.out, "manifest": self.out / "manifest.json"}
        announce(facts, paths, as_json=self.json)


def print_record(record: Record, number: int, total: int) -> None:
    """Print the outcome of a scene as one line on stderr."""
    outcome = (
        f"{record.views} view{'s' * (record.views != 1)}, {record.seconds:.1f} s"
        if record.status == "done"
        else f"failed: {record.error}"
    )
    print(f"{number}/{total} {record.name}: {outcome}", file=sys.stderr, flush=True)
