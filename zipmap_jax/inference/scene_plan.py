"""What a scene's program will be, from the headers of its inputs and the memory that is free."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zipmap_jax.errors import UserError
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.sources import ImageSource, probe_sizes
from zipmap_jax.inference.buckets import Bucket, bucket_of, padded_count
from zipmap_jax.inference.memory import (
    MemoryEstimate,
    automatic_chunk,
    chunks,
    estimate_memory,
    workload_of,
)
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.stream_program import one_call
from zipmap_jax.models.api import Preparation, Size, Workload

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import LoadedModel

Free = tuple[int | None, int | None]
"""Free bytes of device and host, see `memory.free_memory`."""


@dataclasses.dataclass(frozen=True)
class ScenePlan:
    """How a scene will be worked on.

    Attributes:
      workload: its views and the chunk.
      estimate: of its memory.
      rounded: whether its views may be rounded up to a bucket.
      bucket: shape of the program for all its views.
    """

    workload: Workload
    estimate: MemoryEstimate
    rounded: bool
    bucket: Bucket

    @property
    def in_calls(self) -> bool:
        """Whether the program takes the views in more than one call."""
        model, views = self.workload.model, self.workload.views
        return model.streams and one_call(model, self.bucket).views < views


def plan_scene(
    model: LoadedModel,
    sources: Sequence[ImageSource],
    free: Free,
    read: ReadOptions,
    compute: ComputeOptions,
    scenes: int = 1,
) -> ScenePlan:
    """Estimate memory before anything is decoded, settle the chunk and whether to round up.

    Args:
      model: the model.
      sources: frames of the scene.
      free: what there is.
      read: how the sources are read, with a size.
      compute: the chunk and the devices.
      scenes: worked on together.

    Raises:
      UserError: there is by far not enough memory, and no chunk was given.
    """
    preparation, size = model.model.preparation, read.size or default_size(model)
    sizes = [
        shape
        for shape in probe_sizes(sources, read.exif)
        if _usable(preparation, shape, size, read.mode)
    ]
    sizes = sizes or [(size, size)]  # reading them raises the error
    network_size = preparation.network_shape(sizes, size, read.mode)
    work = workload_of(model.model, model.params, sizes, network_size, compute.chunk)
    work = dataclasses.replace(work, devices=compute.devices)
    if compute.chunk is None:
        work = dataclasses.replace(work, chunk=chunk_for(work, scenes, free))
    estimate = estimate_memory(work, *free)
    if estimate.hopeless and compute.chunk is None:
        raise UserError(f"{estimate.text}; to try all the same, give a chunk yourself")
    rounded = estimate_memory(padded(work), *free).fits
    bucket = bucket_of(
        work.views,
        network_size,
        chunk=work.chunk,
        devices=work.devices,
        rounded=rounded,
        # Scenes that go together must be rounded to one length.
        streams=model.model.streams and scenes == 1,
    )
    return ScenePlan(work, estimate, rounded, bucket)


def default_size(model: LoadedModel) -> int:
    """Network image size a model was made for: its card's "size", else its default."""
    return int(model.card.get("size") or model.model.default_size)


def chunk_for(workload: Workload, scenes: int, free: Free) -> int | None:
    """Views of each scene worked on at a time; None = all.

    Args:
      workload: of one scene.
      scenes: worked on together, which costs as much as one scene of more views.
      free: see `free_memory`.
    """
    if scenes == 1:
        return automatic_chunk(workload, *free)
    together = dataclasses.replace(workload, original_sizes=workload.original_sizes * scenes)
    for chunk in chunks(workload):
        live = (chunk or workload.share) * scenes
        if estimate_memory(dataclasses.replace(together, chunk=live), *free).fits:
            return chunk
    return 1


def padded(workload: Workload) -> Workload:
    """The work with its views rounded up; views that fill up need no memory for originals."""
    share = padded_count(workload.share, workload.chunk, streams=workload.model.streams)
    count = workload.devices * share
    extra = max(0, count - workload.views)
    return dataclasses.replace(
        workload, original_sizes=(*workload.original_sizes, *((0, 0),) * extra)
    )


def _usable(preparation: Preparation, shape: Size, size: int, mode: str) -> bool:
    try:
        preparation.resized_shape(shape, size, mode)
    except UserError:
        return False
    return True
