"""The work itself: while one group of scenes is computed, the next is read and the last written.

At most one group is read ahead. Writing costs more than all else where an accelerator computes, and
mostly outside Python's lock, so scenes are written by several threads.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zipmap_jax.batch.journal import Journal, Record
from zipmap_jax.batch.notes import about, collected
from zipmap_jax.batch.plan import (
    BatchOptions,
    Group,
    PlannedScene,
    group,
    key_of,
    plan_scenes,
    sources_of,
)
from zipmap_jax.batch.scenes import SceneInput
from zipmap_jax.errors import UserError, explain
from zipmap_jax.export import OutputError, write_all
from zipmap_jax.geometry.pixel_map import PixelMap
from zipmap_jax.inference.assemble import SceneBuilder
from zipmap_jax.inference.buckets import Bucket, bucket_of
from zipmap_jax.inference.memory import free_memory, host_bytes, memory_remedy, results_in_memory
from zipmap_jax.inference.reconstruct import predict_scenes, read_views
from zipmap_jax.inference.stream_program import bucket_of_call
from zipmap_jax.scene.store import SceneStore
from zipmap_jax.structs import Prediction, Progress

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import LoadedModel
    from zipmap_jax.inference.compile import Program

WRITERS = min(8, max(2, (os.cpu_count() or 1) // 2))
"""Most scenes that are written at a time."""
Ended = Callable[[Record, int, int], None]
"""Called as `ended(record, number, total)` when a scene is done or has failed."""


@dataclasses.dataclass(frozen=True)
class LoadedScene:
    """A scene whose images were read.

    Attributes:
      planned: the scene.
      builder: holds the images at their original size.
      images: the same at network size.
      pixel_maps: the map from each network image to its original.
      seconds: that has been spent on it.
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
    ended: Ended | None = None,
    on_program: Callable[[Program], None] | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """Reconstruct scenes into folders of their own; those that are finished are left as they are.

    A scene that cannot be done is recorded and the others go on; one that failed in an earlier run
    is tried again.

    Args:
      model: from `zipmap_jax.load`.
      scenes: this process's.
      journal: open; says where to write and what is finished.
      options: see there.
      ended: told of each scene.
      on_program: told of each program.
      progress: called as `progress("planning", done, total)`.

    Returns:
      The records of the scenes that this call ended.

    Raises:
      OutputError: the disk is full.
    """
    with collected() as notes:
        batch = _Batch(model, journal, options, notes, ended, on_program, len(scenes))
        return batch.run(batch.groups(scenes, progress))


class _Batch:
    """One call of `run_batch`: what its three threads share."""

    def __init__(
        self,
        model: LoadedModel,
        journal: Journal,
        options: BatchOptions,
        notes: dict[str, list[str]],
        ended: Ended | None,
        on_program: Callable[[Program], None] | None,
        total: int,
    ) -> None:
        self.model, self.journal, self.options = model, journal, options
        self.notes, self.ended, self.on_program = notes, ended, on_program
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
                found = ahead.pop().result()
                ahead = [reader.submit(self._read_group, later) for later in groups[i + 1 : i + 2]]
                writing = _settled(writing, writers)
                results = self._compute(item, found)
                writing += [writer.submit(self._write, *result) for result in results]
            _settled(writing, 0)
        finally:
            # What is computed is written even if an interrupt comes.
            reader.shutdown(cancel_futures=True)
            writer.shutdown()
        return self.records

    def _writers(self, groups: Sequence[Group]) -> int:
        """Scenes to write at a time: each holds its images, as do those being read and computed."""
        largest = max((host_bytes(p.workload) for item in groups for p in item.members), default=0)
        _, free = free_memory()
        if free is None or not largest:
            return WRITERS
        return max(1, min(WRITERS, free // largest - 2 * self.options.batch_size))

    def groups(self, scenes: Sequence[SceneInput], progress: Progress | None) -> list[Group]:
        """What is left to do; what is finished or cannot be done is recorded."""
        before = self.journal.read()
        waiting, already = [], []
        for scene in scenes:
            record = before.get(scene.name)
            try:
                finished = self.journal.finished(scene.name)
            except UserError as error:
                self._failed(scene.name, error)
                continue
            if not finished:
                waiting.append(scene)
                continue
            self.count += 1
            if record is None or record.status != "done":
                # The process was killed between the last two steps.
                views = _views_of(self.journal.out / scene.name)
                self.journal.write(Record(scene.name, "done", views))
            elif record.bucket:
                already.append(record.bucket)
        planned = []
        plans = plan_scenes(self.model, waiting, self.options, progress)
        for scene, plan in zip(waiting, plans, strict=True):
            if isinstance(plan, Exception):
                self._failed(scene.name, plan)
            else:
                planned.append(plan)
        return group(planned, self.options.batch_size, already)

    def _read_group(self, item: Group) -> list[LoadedScene]:
        """In the reader's thread."""
        found = [self._read(planned) for planned in item.members]
        return [read for read in found if read is not None]

    def _read(self, planned: PlannedScene) -> LoadedScene | None:
        began = time.monotonic()
        scene, read = planned.scene, self.options.read
        name = str(self.model.card.get("name", self.model.model.name))
        _, free = free_memory()
        store = SceneStore(results_in_memory(free), self.journal.working)
        builder = SceneBuilder(store, model=name)
        with about(scene.name):
            try:
                sources = sources_of(scene, self.options)
                images, pixel_maps = read_views(self.model, sources, read, builder)
            except Exception as error:  # whatever a file can do to a decoder: the others go on
                store.close()
                self._failed(scene.name, error, time.monotonic() - began)
                return None
        return LoadedScene(planned, builder, images, pixel_maps, time.monotonic() - began)

    def _compute(
        self, item: Group, found: Sequence[LoadedScene]
    ) -> list[tuple[LoadedScene, Prediction, Bucket]]:
        """Predictions of a group; images that were left out may have changed a scene's shape."""
        results: list[tuple[LoadedScene, Prediction, Bucket]] = []
        parts: dict[Bucket, list[LoadedScene]] = {}
        for read in found:
            parts.setdefault(self._bucket(item, read), []).append(read)
        for bucket, members in parts.items():
            began, before = time.monotonic(), self.compiling
            try:
                predictions = predict_scenes(
                    self.model,
                    [read.images for read in members],
                    bucket,
                    self._advice(members[0].planned, bucket),
                    progress=self._clock,
                    on_program=self._announce,
                )
            except Exception as error:  # such as memory that ran out: the others go on
                for read in members:
                    read.builder.store.close()
                    self._failed(read.planned.scene.name, error, read.seconds, bucket)
                continue
            compiling = self.compiling - before  # not a cost of these scenes
            spent = (time.monotonic() - began - compiling) / len(members)
            for read, prediction in zip(members, predictions, strict=True):
                longer = dataclasses.replace(read, seconds=read.seconds + spent)
                results.append((longer, prediction, bucket))
        return results

    def _bucket(self, item: Group, read: LoadedScene) -> Bucket:
        height, width = read.images.shape[1:3]
        if (height, width) == (item.bucket.height, item.bucket.width):
            return item.bucket  # with fewer views than planned as well
        scenes = item.bucket.scenes
        return bucket_of(
            len(read.images),
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
        known = bucket_of_call(self.model.model, program.bucket)
        if known in self.programs:
            return
        self.programs.add(known)
        if self.on_program:
            self.on_program(program)

    def _write(self, read: LoadedScene, prediction: Prediction, bucket: Bucket) -> None:
        """In a writer's thread. A full disk stops the run, other failures only the scene."""
        name, began = read.planned.scene.name, time.monotonic()
        folder = self.journal.working / name
        with about(name):
            try:
                read.builder.add_predictions(prediction, read.pixel_maps)
                scene = read.builder.scene()
                write_all(scene, folder, conf_threshold=self.options.conf_threshold)
                self.journal.publish(name)
            except Exception as error:
                shutil.rmtree(folder, ignore_errors=True)
                if _disk_full(error):
                    raise
                if not self._done_elsewhere(name):
                    seconds = read.seconds + time.monotonic() - began
                    self._failed(name, error, seconds, bucket)
                return
            finally:
                read.builder.store.close()
        seconds = read.seconds + time.monotonic() - began
        record = Record(name, "done", len(read.builder), round(seconds, 3), bucket=key_of(bucket))
        self._end(record)

    def _done_elsewhere(self, name: str) -> bool:
        """Whether another process was quicker, as when two were given the same scenes."""
        try:
            return self.journal.finished(name)
        except UserError:
            return False

    def _failed(
        self, name: str, error: BaseException, seconds: float = 0.0, bucket: Bucket | None = None
    ) -> None:
        sentence = explain(error)
        if sentence is None:
            if os.environ.get("ZIPMAP_DEBUG") == "1":
                raise error
            sentence = (
                f"{type(error).__name__}: {error} (ZIPMAP_DEBUG=1 stops here and shows where)"
            )
        key = key_of(bucket) if bucket else None
        self._end(Record(name, "failed", None, round(seconds, 3), sentence, bucket=key))

    def _end(self, record: Record) -> None:
        record = dataclasses.replace(record, warnings=tuple(self.notes.get(record.name, ())))
        self.journal.write(record)
        with self.lock:
            self.records.append(record)
            self.count += 1
            if self.ended:
                self.ended(record, self.count, self.total)


def _settled(writing: list[Future[None]], most: int) -> list[Future[None]]:
    """Wait until at most so many are unfinished; raises what one of them raised."""
    while len(writing) > most:
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
