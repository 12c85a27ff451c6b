"""Which scenes share a program: from the headers of their files, before anything is decoded."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from zipmap_jax.batch.scenes import SceneInput
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.sources import ImageSource, list_sources
from zipmap_jax.inference.buckets import Bucket
from zipmap_jax.inference.memory import Workload, free_before_loading, free_memory
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.scene_plan import Free, plan_scene
from zipmap_jax.structs import Progress

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import LoadedModel


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """What `reconstruct` takes, and how many scenes go together.

    Attributes:
      read: how the images are read, with a size.
      compute: resources of a group of scenes.
      conf_threshold: as in `write_all`.
      batch_size: number of scenes worked on together, at most.
    """

    read: ReadOptions
    compute: ComputeOptions = ComputeOptions()
    conf_threshold: float = 50.0
    batch_size: int = 1


@dataclasses.dataclass(frozen=True)
class PlannedScene:
    """A scene whose headers were read.

    Attributes:
      scene: the scene.
      workload: its views, and how many are worked on at a time.
      bucket: the program for it alone.
    """

    scene: SceneInput
    workload: Workload
    bucket: Bucket


@dataclasses.dataclass(frozen=True)
class Group:
    """Scenes that are read, run and written together; the bucket is that of all of them."""

    members: tuple[PlannedScene, ...]
    bucket: Bucket


def sources_of(scene: SceneInput, options: BatchOptions) -> list[ImageSource]:
    """The frames of a scene, before anything is decoded.

    Raises:
      UserError: the scene has none.
    """
    return list_sources(str(scene.path), options.read)


def plan_scenes(
    model: LoadedModel,
    scenes: Sequence[SceneInput],
    options: BatchOptions,
    progress: Progress | None = None,
) -> list[PlannedScene | Exception]:
    """For each scene its program, or why it cannot be done.

    Args:
      model: the model.
      scenes: to be planned.
      options: see there.
      progress: called as `progress("planning", done, total)`.
    """
    free = free_before_loading(free_memory(), model.params)

    def plan(scene: SceneInput) -> PlannedScene | Exception:
        try:
            return _plan(model, scene, options, free)
        except Exception as error:  # whatever a file can do to a decoder: the others go on
            return error

    plans = []
    with ThreadPoolExecutor(8) as pool:
        for done, found in enumerate(pool.map(plan, scenes), start=1):
            plans.append(found)
            if progress:
                progress("planning", done, len(scenes))
    return plans


def _plan(model: LoadedModel, scene: SceneInput, options: BatchOptions, free: Free) -> PlannedScene:
    sources = sources_of(scene, options)
    plan = plan_scene(model, sources, free, options.read, options.compute, options.batch_size)
    return PlannedScene(scene, plan.workload, plan.bucket)


def group(
    planned: Sequence[PlannedScene], batch_size: int, already: Sequence[tuple[int, int, int]] = ()
) -> list[Group]:
    """Scenes of one bucket, up to `batch_size` together, largest buckets first.

    Every group of a bucket runs the same program, the last one filled up, so that the numbers do
    not depend on who shares a batch. To that end scenes that an earlier run finished count when a
    bucket has fewer scenes than a batch.

    Args:
      planned: scenes that are to be done.
      batch_size: most scenes together.
      already: views, height and width of the programs of finished scenes.
    """
    counts = Counter(already)
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
    """What scenes must share to go together."""
    return bucket.views, bucket.height, bucket.width


def _order(bucket: Bucket) -> tuple[int, ...]:
    # Large ones first: if memory does not suffice, that shows soon.
    return -bucket.views, -bucket.height, -bucket.width, bucket.chunk or 0
