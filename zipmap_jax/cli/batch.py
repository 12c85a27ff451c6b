"""`zipmap batch`: a folder of scenes in, a folder of reconstructions out."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from zipmap_jax.cli.loading import Precision, load_model
from zipmap_jax.cli.progress import PlainLines
from zipmap_jax.cli.run import check_percentage, print_program
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.batch.journal import Record
    from zipmap_jax.batch.plan import BatchOptions
    from zipmap_jax.convert.hub import LoadedModel

FAILED = 1
"""Exit code when at least one scene could not be done."""
MANIFEST_EVERY = 10.0
"""Seconds between two writings of the manifest while scenes end."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Reconstruct every scene of a folder: folders of images, and videos.

    Each scene becomes OUT/NAME, as zipmap run writes it; OUT/manifest.json tells how each ended.
    Give the same command again to go on where it stopped: finished scenes are left alone, failed
    ones tried again.

    Attributes:
      scenes: folder of folders of images, or of videos.
      out: folder to write, or to go on with.
      model: "tiny" (embedded; also tiny-streaming, tiny-query), a converted folder, or
        hf://owner/repo/file@revision.
      size: working width in pixels.
      mode: crop tall pictures to a square, or pad every picture to one.
      fps: frames taken per second of video.
      max_views: at most this many views of a scene, evenly spaced.
      conf_threshold: percentage of points to leave out, the least confident first.
      batch_size: scenes of one program worked on together.
      chunk: views of a scene worked on at once; fewer need less memory.
      precision: number format; auto is fp32 on the CPU and bf16 elsewhere.
      strict: let a scene fail at its first unreadable image instead of leaving that out.
      no_exif: ignore the orientation recorded in photographs and videos.
      process: which share of the scenes, on one of n machines that write to the same OUT: 0/n to
        n-1/n.
      json: print one JSON object instead of text.
    """

    scenes: Annotated[Positional[Path], arg(metavar="SCENES", help_behavior_hint="")]
    out: Annotated[Path, arg(aliases=("-o",), metavar="OUT", help_behavior_hint="(required)")]
    model: str = "tiny"
    size: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: the model's own)")
    ] = None
    mode: Literal["crop", "pad"] = "crop"
    fps: float = 1.0
    max_views: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: all)")] = None
    conf_threshold: Annotated[float, arg(metavar="PERCENT")] = 50.0
    batch_size: Annotated[int, arg(metavar="N")] = 1
    chunk: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: what free memory allows)")
    ] = None
    precision: Precision = "auto"
    strict: bool = False
    no_exif: bool = False
    process: Annotated[
        str | None,
        arg(metavar="I/N", help_behavior_hint="(default: JAX_PROCESS_ID of JAX_NUM_PROCESSES)"),
    ] = None
    json: bool = False

    def __call__(self) -> int:
        from zipmap_jax.batch.journal import Journal
        from zipmap_jax.batch.run import run_batch
        from zipmap_jax.batch.scenes import list_scenes, share, which_process

        self._check()
        process = which_process(self.process)
        scenes = list_scenes(self.scenes, self.out)
        began = time.monotonic()
        model = load_model(self.model, self.precision)
        options = self._options(model)
        settings = self._settings(options, model.fingerprint)
        mine = share(scenes, *process)
        journal = Journal(self.out, process)
        journal.open(settings)
        written = 0.0

        def ended(record: Record, number: int, total: int) -> None:
            nonlocal written
            print_ended(record, number, total)
            if time.monotonic() - written > MANIFEST_EVERY:
                journal.write_manifest(self.scenes, scenes, settings, settle=False)
                written = time.monotonic()

        try:
            records = run_batch(
                model,
                mine,
                journal,
                options,
                ended=ended,
                on_program=print_program,
                progress=PlainLines(),
            )
        finally:
            try:
                journal.write_manifest(self.scenes, scenes, settings)
            finally:
                journal.close()
        self._report(records, len(mine), time.monotonic() - began)
        return FAILED if any(record.status == "failed" for record in records) else 0

    def _check(self) -> None:
        """Refuse what no scene could be done with."""
        check_percentage(self.conf_threshold)
        for name in ("max_views", "batch_size", "chunk"):
            value = getattr(self, name)
            if value is not None and value < 1:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} must be at least 1, got {value}: leave it out")
        if not 1e-6 <= self.fps < float("inf"):
            raise UserError(f"--fps must be a positive number, got {self.fps}: try 1")

    def _options(self, model: LoadedModel) -> BatchOptions:
        from zipmap_jax.batch.plan import BatchOptions
        from zipmap_jax.images.options import ReadOptions
        from zipmap_jax.inference.options import ComputeOptions
        from zipmap_jax.inference.scene_plan import default_size

        size = default_size(model) if self.size is None else self.size
        model.model.preparation.resized_shape((size, size), size, self.mode)
        read = ReadOptions(
            size=size,
            mode=self.mode,
            fps=self.fps,
            max_views=self.max_views,
            strict=self.strict,
            exif=not self.no_exif,
        )
        return BatchOptions(read, ComputeOptions(self.chunk), self.conf_threshold, self.batch_size)

    def _settings(self, options: BatchOptions, weights: str) -> dict[str, Any]:
        """What the results depend on beyond rounding; a resumed run must have the same."""
        own = ("model", "mode", "fps", "max_views", "conf_threshold", "precision", "strict")
        settings = {name: getattr(self, name) for name in own}
        return {
            "scenes": self.scenes.resolve().name,  # machines may see it at other places
            **settings,
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
        manifest = self.out / "manifest.json"
        if self.json:
            print(json.dumps({**facts, "out": str(self.out), "manifest": str(manifest)}))
            return
        for name, value in facts.items():
            print(f"{name.replace('_', ' ')}: {value}")
        print(manifest)


def print_ended(record: Record, number: int, total: int) -> None:
    """One line on stderr for each scene."""
    what = (
        f"{record.views} view{'s' * (record.views != 1)}, {record.seconds:.1f} s"
        if record.status == "done"
        else f"failed: {record.error}"
    )
    print(f"{number}/{total} {record.name}: {what}", file=sys.stderr, flush=True)
