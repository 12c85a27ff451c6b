"""Chunk, bucket and memory estimate of a scene, from image headers and the free memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zipmap_jax.errors import UserError
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.resize import reduced_shape
from zipmap_jax.images.sources import ImageSource, probe_sizes
from zipmap_jax.inference.buckets import Bucket, bucket_of, padded_count
from zipmap_jax.inference.memory import (
    MemoryEstimate,
    automatic_chunk,
    chunk_candidates,
    estimate_memory,
    workload_of,
)
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.stream_program import bucket_of_call
from zipmap_jax.models.api import Preparation, Size, Workload

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import LoadedModel

Free = tuple[int | None, int | None]
"""Free bytes of device and host; see `free_memory`."""


@dataclasses.dataclass(frozen=True)
class ScenePlan:
    """The plan of a reconstruction.

    Attributes:
      workload: views and chunk.
      estimate: memory estimate.
      rounded: whether the views are rounded up to a step.
      bucket: shape of all views.
    """

    workload: Workload
    estimate: MemoryEstimate
    rounded: bool
    bucket: Bucket

    @property
    def several_calls(self) -> bool:
        """Whether the program is called more than once."""
        model, views = self.workload.model, self.workload.views
        return model.streams and bucket_of_call(model, self.bucket).views < views


def plan_scene(
    model: LoadedModel,
    sources: Sequence[ImageSource],
    free: Free,
    read: ReadOptions,
    compute: ComputeOptions,
    scenes: int = 1,
) -> ScenePlan:
    """Plans a reconstruction before anything is decoded.

    Args:
      model: from `zipmap_jax.load`.
      sources: from `list_sources`.
      free: free memory without the parameters; see `free_before_loading`.
      read: options of the sources.
      compute: chunk and devices.
      scenes: number of scenes per call.

    Raises:
      UserError: memory is insufficient by far, and `compute.chunk` is None.
    """
    preparation, size = model.model.preparation, read.size or default_size(model)
    sizes = [
        shape
        for shape in probe_sizes(sources, read.exif)
        if _usable(preparation, shape, size, read.mode)
    ]
    sizes = sizes or [(size, size)]  # the reader raises the error
    network_size = preparation.network_shape(sizes, size, read.mode)
    chunk, devices = compute.chunk, compute.devices
    sizes = [reduced_shape(shape, read.output_size) for shape in sizes]
    work = workload_of(model.model, model.params, sizes, network_size, chunk, devices=devices)
    if chunk is None:
        work = dataclasses.replace(work, chunk=chunk_for(work, scenes, free))
    estimate = estimate_memory(work, *free)
    if estimate.hopeless and chunk is None:
        raise UserError(f"{estimate.text}; set a chunk to run without this check")
    rounded = estimate_memory(with_padding(work), *free).fits
    bucket = bucket_of(
        work.views,
        network_size,
        chunk=work.chunk,
        devices=work.devices,
        rounded=rounded,
        # Scenes of one call have one length.
        streams=model.model.streams and scenes == 1,
    )
    return ScenePlan(work, estimate, rounded, bucket)


def default_size(model: LoadedModel) -> int:
    """Returns the network image size of a model: the "size" of its card, else its default."""
    return int(model.card.get("size") or model.model.default_size)


def chunk_for(workload: Workload, scenes: int, free: Free) -> int | None:
    """Returns the largest chunk per scene that fits in memory; None = all views.

    Args:
      workload: views of one scene.
      scenes: number of scenes per call, which need the memory of one scene with all their views.
      free: free memory; see `free_memory`.
    """
    if scenes == 1:
        return automatic_chunk(workload, *free)
    together = dataclasses.replace(workload, original_sizes=workload.original_sizes * scenes)
    for chunk in chunk_candidates(workload):
        live = (chunk or workload.share) * scenes
        if estimate_memory(dataclasses.replace(together, chunk=live), *free).fits:
            return chunk
    return 1


def with_padding(workload: Workload) -> Workload:
    """Returns the workload with its views rounded up; padding views have no original image."""
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
