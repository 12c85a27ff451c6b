"""Pipelined batch reconstruction: one group is computed, the next read and the last written.

At most one group is read ahead. With an accelerator, writing takes the longest, mostly outside
Python's global lock, so several threads write.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zipmap_jax.batch.journal import Journal, Record
from zipmap_jax.batch.notes import attribute_warnings, collect_warnings
from zipmap_jax.batch.plan import (
    BatchOptions,
    Group,
    PlannedScene,
    group,
    key_of,
    plan_scenes,
)
from zipmap_jax.batch.scenes import SceneInput
from zipmap_jax.errors import REPORT, UserError, explain
from zipmap_jax.export import OutputError, write_all
from zipmap_jax.geometry.pixel_map import PixelMap
from zipmap_jax.inference.assemble import SceneBuilder
from zipmap_jax.inference.buckets import Bucket, bucket_of
from zipmap_jax.inference.memory import free_memory, host_bytes, memory_remedy, results_in_memory
from zipmap_jax.inference.reconstruct import predict_scenes, read_views
from zipmap_jax.inference.stream_program import bucket_of_call
from zipmap_jax.inference.stream_scene import stream_scene
from zipmap_jax.scene.store import SceneStore
from zipmap_jax.structs import Prediction, Progress

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import LoadedModel
    from zipmap_jax.inference.compile import Program

WRITERS = min(8, max(2, (os.cpu_count() or 1) // 2))
"""Maximum number of scenes written at the same time."""
OnRecord = Callable[[Record, int, int], None]
"""Called as `on_record(record, number, total)` when a scene is done or has failed."""


@dataclasses.dataclass(frozen=True)
class LoadedScene:
    """A scene with its images.

    Attributes:
      planned: the scene.
      builder: scene under construction, with the images at their original size.
      images: network images.
      pixel_maps: maps from network pixels to original pixels.
      seconds: time spent on the scene so far.
    """

    planned: PlannedScene
    builder: SceneBuilder
    images: np.ndarray
    pixel_maps: list[PixelMap]
    seconds: float


def run_batch(
    model: LoadedModel,
    scenes: Sequence[SceneInput],
    journal: Journal,
    options: BatchOptions,
    *,
    on_record: OnRecord | None = None,
    on_program: Callable[[Program], None] | None = None,
    on_plan: Callable[[Sequence[PlannedScene]], None] | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """Reconstruct each scene into its own folder, except for finished ones.

    A failure is recorded and the other scenes go on; failed scenes of earlier runs are repeated.

    Args:
      model: model from `zipmap_jax.load`.
      scenes: scenes of this process.
      journal: open journal of the output folder.
      options: options of the batch.
      on_record: called with each record, its number and the number of scenes.
      on_program: called with each new program.
      on_plan: called with the scenes to do, before the first one is decoded.
      progress: called as `progress("planning", done, total)`.

    Returns:
      The records written by this call.

    Raises:
      OutputError: the disk is full.
    """
    with collect_warnings() as notes:
        batch = _Batch(model, journal, options, notes, on_record, on_program, len(scenes))
        groups = batch.groups(scenes, progress)
        if on_plan:
            on_plan([planned for item in groups for planned in item.members])
        return batch.run(groups)


class _Batch:
    """State of one call of `run_batch`, shared by its threads."""

    def __init__(
        self,
        model: LoadedModel,
        journal: Journal,
        options: BatchOptions,
        notes: dict[str, list[str]],
        on_record: OnRecord | None,
        on_program: Callable[[Program], None] | None,
        total: int,
    ) -> None:
        self.model, self.journal, self.options = model, journal, options
        self.notes, self.on_record, self.on_program = notes, on_record, on_program
        self.total, self.count = total, 0
        self.records: list[Record] = []
        self.programs: set[Bucket] = set()
        self.compiling, self.since = 0.0, 0.0
        self.lock = threading.Lock()

    def run(self, groups: Sequence[Group]) -> list[Record]:
        writers = self._writers(groups)
        reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(writers)
        writing: list[Future[None]] = []
        try:
            ahead = [reader.submit(self._read_group, item) for item in groups[:1]]
            for i, item in enumerate(groups):
                loaded = ahead.pop().result()
                ahead = [reader.submit(self._read_group, later) for later in groups[i + 1 : i + 2]]
                writing = _wait(writing, writers)
                streams = [planned for planned in item.members if planned.stream is not None]
                results = [
                    *self._compute(item, loaded),
                    *filter(None, map(self._read_and_compute, streams)),
                ]
                writing += [writer.submit(self._write, *result) for result in results]
            _wait(writing, 0)
        finally:
            # Computed scenes are written even after an interrupt.
            reader.shutdown(cancel_futures=True)
            writer.shutdown()
        return self.records

    def _writers(self, groups: Sequence[Group]) -> int:
        """Number of writers for which the images of all scenes in progress fit into memory."""
        largest = max((host_bytes(p.workload) for item in groups for p in item.members), default=0)
        _, free = free_memory()
        if free is None or not largest:
            return WRITERS
        return max(1, min(WRITERS, free // largest - 2 * self.options.batch_size))

    def groups(self, scenes: Sequence[SceneInput], progress: Progress | None) -> list[Group]:
        """Groups of the scenes left to do; finished and impossible scenes are recorded."""
        records = self.journal.read()
        waiting, buckets = [], []
        for scene in scenes:
            record = records.get(scene.name)
            try:
                finished = self.journal.finished(scene.name)
            except UserError as error:
                self._fail(scene.name, error)
                continue
            if not finished:
                waiting.append(scene)
                continue
            self.count += 1
            if record is None or record.status != "done":
                # The process was killed between publishing and recording.
                views = _views_of(self.journal.out / scene.name)
                self.journal.write(Record(scene.name, "done", views))
            elif record.bucket:
                buckets.append(record.bucket)
        planned = []
        plans = plan_scenes(self.model, waiting, self.options, progress)
        for scene, plan in zip(waiting, plans, strict=True):
            if isinstance(plan, Exception):
                self._fail(scene.name, plan)
            else:
                planned.append(plan)
        return group(planned, self.options.batch_size, buckets)

    def _read_group(self, item: Group) -> list[LoadedScene]:
        """Read the scenes of a group that are not streams, in the reader's thread."""
        scenes = [self._read(planned) for planned in item.members if planned.stream is None]
        return [scene for scene in scenes if scene is not None]

    def _read(self, planned: PlannedScene) -> LoadedScene | None:
        began = time.monotonic()
        scene, read, builder = planned.scene, self.options.read, self._builder()
        with attribute_warnings(scene.name):
            try:
                images, pixel_maps = read_views(self.model, planned.sources, read, builder)
            except Exception as error:  # decoders can raise anything; the other scenes go on
                builder.store.close()
                self._fail(scene.name, error, time.monotonic() - began)
                return None
        return LoadedScene(planned, builder, images, pixel_maps, time.monotonic() - began)

    def _builder(self) -> SceneBuilder:
        name = str(self.model.card.get("name", self.model.model.name))
        store = SceneStore(results_in_memory(free_memory()[1]), self.journal.working)
        return SceneBuilder(store, model=name)

    def _read_and_compute(
        self, planned: PlannedScene
    ) -> tuple[LoadedScene, Prediction | None, Bucket] | None:
        """Read and compute a stream chunk by chunk, so that no more than a few views are held."""
        assert planned.stream is not None
        began, compiling_before, builder = time.monotonic(), self.compiling, self._builder()
        with attribute_warnings(planned.scene.name):
            try:
                stream_scene(
                    self.model,
                    planned.sources,
                    self.options.read,
                    planned.stream,
                    builder,
                    progress=self._clock,
                    on_program=self._announce,
                )
            except Exception as error:  # decoders can raise anything; the other scenes go on
                builder.store.close()
                self._fail(planned.scene.name, error, time.monotonic() - began, planned.bucket)
                return None
        seconds = time.monotonic() - began - (self.compiling - compiling_before)
        loaded = LoadedScene(planned, builder, np.empty((0, 0, 0, 3), np.uint8), [], seconds)
        return loaded, None, planned.bucket

    def _compute(
        self, item: Group, scenes: Sequence[LoadedScene]
    ) -> list[tuple[LoadedScene, Prediction | None, Bucket]]:
        """Predictions of a group; unreadable images may have changed the bucket of a scene."""
        results: list[tuple[LoadedScene, Prediction | None, Bucket]] = []
        parts: dict[Bucket, list[LoadedScene]] = {}
        for loaded in scenes:
            parts.setdefault(self._bucket(item, loaded), []).append(loaded)
        for bucket, members in parts.items():
            began, compiling_before = time.monotonic(), self.compiling
            try:
                predictions = predict_scenes(
                    self.model,
                    [loaded.images for loaded in members],
                    bucket,
                    self._advice(members[0].planned, bucket),
                    progress=self._clock,
                    on_program=self._announce,
                )
            except Exception as error:  # for example out of memory; the other scenes go on
                for loaded in members:
                    loaded.builder.store.close()
                    self._fail(loaded.planned.scene.name, error, loaded.seconds, bucket)
                continue
            compiling = self.compiling - compiling_before  # not a cost of these scenes
            share = (time.monotonic() - began - compiling) / len(members)
            for loaded, prediction in zip(members, predictions, strict=True):
                computed = dataclasses.replace(loaded, seconds=loaded.seconds + share)
                results.append((computed, prediction, bucket))
        return results

    def _bucket(self, item: Group, loaded: LoadedScene) -> Bucket:
        height, width = loaded.images.shape[1:3]
        if (height, width) == (item.bucket.height, item.bucket.width):
            return item.bucket  # also for fewer views than planned
        scenes = item.bucket.scenes
        return bucket_of(
            len(loaded.images),
            (height, width),
            chunk=item.bucket.chunk,
            scenes=scenes,
            streams=self.model.model.streams and scenes == 1,
        )

    def _advice(self, planned: PlannedScene, bucket: Bucket) -> str:
        if bucket.scenes > 1:
            return f"use a --batch-size of {bucket.scenes // 2} (now {bucket.scenes})"
        return memory_remedy(planned.workload)

    def _clock(self, stage: str, done: int, total: int) -> None:
        if stage == "compiling":
            now = time.monotonic()
            self.compiling += now - self.since if done else 0.0
            self.since = now

    def _announce(self, program: Program) -> None:
        bucket = bucket_of_call(self.model.model, program.bucket)
        if bucket in self.programs:
            return
        self.programs.add(bucket)
        if self.on_program:
            self.on_program(program)

    def _write(self, loaded: LoadedScene, prediction: Prediction | None, bucket: Bucket) -> None:
        """Write a scene, in a writer's thread; only a full disk stops the run."""
        name, began = loaded.planned.scene.name, time.monotonic()
        folder = self.journal.working / name
        with attribute_warnings(name):
            try:
                if prediction is not None:  # else it was computed chunk by chunk
                    loaded.builder.add_predictions(prediction, loaded.pixel_maps)
                scene = loaded.builder.scene()
                write_all(scene, folder, **self.options.export.arguments)
                self.journal.publish(name)
            except Exception as error:
                shutil.rmtree(folder, ignore_errors=True)
                if _disk_full(error):
                    raise
                if not self._done_elsewhere(name):
                    seconds = loaded.seconds + time.monotonic() - began
                    self._fail(name, error, seconds, bucket)
                return
            finally:
                loaded.builder.store.close()
        seconds = loaded.seconds + time.monotonic() - began
        views = len(loaded.builder)
        self._end(Record(name, "done", views, round(seconds, 3), bucket=key_of(bucket)))

    def _done_elsewhere(self, name: str) -> bool:
        """Whether another process with the same scenes has finished this one."""
        try:
            return self.journal.finished(name)
        except UserError:
            return False

    def _fail(
        self, name: str, error: BaseException, seconds: float = 0.0, bucket: Bucket | None = None
    ) -> None:
        sentence = explain(error)
        if sentence is None:
            if os.environ.get("ZIPMAP_DEBUG") == "1":
                raise error
            traceback.print_exception(error)
            sys.stderr.write(f"{name}: {REPORT}\n")
            sentence = f"{type(error).__name__}: {error} (a defect of zipmap-jax)"
        key = key_of(bucket) if bucket else None
        self._end(Record(name, "failed", None, round(seconds, 3), sentence, bucket=key))

    def _end(self, record: Record) -> None:
        record = dataclasses.replace(record, warnings=tuple(self.notes.get(record.name, ())))
        self.journal.write(record)
        with self.lock:
            self.records.append(record)
            self.count += 1
            if self.on_record:
                self.on_record(record, self.count, self.total)


def _wait(writing: list[Future[None]], max_pending: int) -> list[Future[None]]:
    """Wait until at most `max_pending` writes are pending, and raise their errors."""
    while len(writing) > max_pending:
        writing.pop(0).result()
    return writing


def _disk_full(error: BaseException) -> bool:
    cause: Any = error.__cause__ if isinstance(error, OutputError) else error
    return getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def _views_of(folder: Path) -> int | None:
    try:
        return len(json.loads((folder / "cameras.json").read_text("utf-8"))["views"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
