"""Groups of scenes that share a program, planned from file headers before decoding."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from zipmap_jax.batch.notes import attribute_warnings
from zipmap_jax.batch.scenes import SceneInput
from zipmap_jax.export.options import ExportOptions
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.sources import ImageSource, list_sources
from zipmap_jax.inference.buckets import Bucket
from zipmap_jax.inference.memory import Workload, free_before_loading, free_memory
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.scene_plan import Free, ScenePlan, plan_scene
from zipmap_jax.structs import Progress

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import LoadedModel


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """Options of a batch.

    Attributes:
      read: options of reading the images, with a size.
      compute: resources for a group of scenes.
      export: options of `write_all`.
      batch_size: maximum number of scenes per program.
    """

    read: ReadOptions
    compute: ComputeOptions = ComputeOptions()
    export: ExportOptions = ExportOptions()
    batch_size: int = 1


@dataclasses.dataclass(frozen=True)
class PlannedScene:
    """A scene with its plan.

    Attributes:
      scene: the scene.
      sources: its frames, not yet decoded.
      workload: its views and chunk.
      bucket: shapes of the program for this scene alone.
      stream: the plan of a scene that is read and computed chunk by chunk; else None.
    """

    scene: SceneInput
    sources: tuple[ImageSource, ...]
    workload: Workload
    bucket: Bucket
    stream: ScenePlan | None = None


@dataclasses.dataclass(frozen=True)
class Group:
    """Scenes that are read and computed together, and the bucket of their program."""

    members: tuple[PlannedScene, ...]
    bucket: Bucket


def plan_scenes(
    model: LoadedModel,
    scenes: Sequence[SceneInput],
    options: BatchOptions,
    progress: Progress | None = None,
) -> list[PlannedScene | Exception]:
    """The plan of each scene, or the error that prevents it.

    Args:
      model: the model.
      scenes: scenes to plan.
      options: options of the batch.
      progress: called as `progress("planning", done, total)`.
    """
    free = free_before_loading(free_memory(), model.params)

    def plan(scene: SceneInput) -> PlannedScene | Exception:
        try:
            return _plan(model, scene, options, free)
        except Exception as error:  # decoders can raise anything; the other scenes go on
            return error

    plans = []
    with ThreadPoolExecutor(8) as pool:
        for done, planned in enumerate(pool.map(plan, scenes), start=1):
            plans.append(planned)
            if progress:
                progress("planning", done, len(scenes))
    return plans


def _plan(model: LoadedModel, scene: SceneInput, options: BatchOptions, free: Free) -> PlannedScene:
    with attribute_warnings(scene.name):
        sources = tuple(list_sources(str(scene.path), options.read))
    plan = plan_scene(model, sources, free, options.read, options.compute, options.batch_size)
    stream = plan if plan.several_calls and options.batch_size == 1 else None
    return PlannedScene(scene, sources, plan.workload, plan.bucket, stream)


def group(
    planned: Sequence[PlannedScene], batch_size: int, finished: Sequence[tuple[int, int, int]] = ()
) -> list[Group]:
    """Groups of up to `batch_size` scenes of one bucket, largest buckets first.

    All groups of a bucket run the same program, the last one padded, so results do not depend on
    the other scenes of a group. The scenes per program therefore include those of earlier runs.
    The place of a scene in its group, which may differ after a resume, changes the last bit.

    Args:
      planned: scenes to group.
      batch_size: maximum number of scenes per group.
      finished: views, height and width of the programs of finished scenes.
    """
    counts = Counter(finished)
    counts.update(key_of(item.bucket) for item in planned)
    groups = []
    order = sorted(planned, key=lambda item: (_order(item.bucket), item.scene.name))
    for bucket, members in itertools.groupby(order, key=lambda item: item.bucket):
        scenes = min(batch_size, counts[key_of(bucket)])
        shared = dataclasses.replace(bucket, scenes=scenes)
        waiting = list(members)
        for i in range(0, len(waiting), scenes):
            groups.append(Group(tuple(waiting[i : i + scenes]), shared))
    return groups


def key_of(bucket: Bucket) -> tuple[int, int, int]:
    """Views, height and width of a bucket, equal for all scenes of a group."""
    return bucket.views, bucket.height, bucket.width


def _order(bucket: Bucket) -> tuple[int, ...]:
    # Large buckets first, so that a lack of memory shows early.
    return -bucket.views, -bucket.height, -bucket.width, bucket.chunk or 0
