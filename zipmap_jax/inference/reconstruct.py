"""Reconstruction of photographs, videos or arrays as one `Scene`."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zipmap_jax.errors import UserError, require_whole
from zipmap_jax.images.frames import network_frames, stacked
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.resize import Mode
from zipmap_jax.images.sources import ImageSource, list_sources
from zipmap_jax.inference.assemble import SceneBuilder
from zipmap_jax.inference.buckets import Bucket, bucket_of, fill
from zipmap_jax.inference.compile import Program, compiled_update, ignore_progress
from zipmap_jax.inference.devices import check_devices
from zipmap_jax.inference.memory import (
    free_before_loading,
    free_memory,
    memory_remedy,
    out_of_memory_error,
    results_in_memory,
    workload_of,
)
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.scene_plan import ScenePlan, default_size, plan_scene
from zipmap_jax.inference.stream_scene import stream_scene
from zipmap_jax.scene.scene import Scene
from zipmap_jax.scene.store import SceneStore
from zipmap_jax.structs import Prediction, Progress, Views, map_views

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from zipmap_jax.convert.hub import LoadedModel
    from zipmap_jax.geometry.pixel_map import PixelMap


def reconstruct(
    model: LoadedModel,
    inputs: Any,
    *,
    size: int | None = None,
    mode: Mode = "crop",
    chunk: int | None = None,
    devices: int = 1,
    max_views: int | None = None,
    fps: float = 1.0,
    strict: bool = False,
    exif: bool = True,
    output_size: int | None = None,
    align_first_view: bool = True,
    scratch: Path | None = None,
    progress: Progress | None = None,
    on_plan: Callable[[ScenePlan], None] | None = None,
    on_program: Callable[[Program], None] | None = None,
) -> Scene:
    """Reconstructs cameras and depth of every image, on its pixel grid.

    A streaming model takes in the views chunk by chunk, so that few are in memory at a time; other
    models hold the network images of all views.

    Args:
      model: from `zipmap_jax.load`.
      inputs: a folder, file, glob, video, array [h, w, 3] or [v, h, w, 3] (uint8, or floating
        point in [0, 1]), or a sequence of these.
      size, mode, max_views, fps, strict, exif, output_size: see `zipmap_jax.images.ReadOptions`.
      chunk, devices, scratch: see `zipmap_jax.inference.ComputeOptions`.
      align_first_view: express poses in the first camera's frame.
      progress: called as `progress(stage, done, total)` with the stages "reading", "compiling",
        "running" and, unless the views are streamed, "assembling".
      on_plan: called with the plan before the inputs are read, see `ScenePlan.estimate`; None = a
        warning if the estimated memory exceeds what is free.
      on_program: called with the compiled program.

    Returns:
      The scene, on the host.

    Raises:
      UserError: an input or an option is invalid, or memory is insufficient.
    """
    if isinstance(model, str):
        raise UserError(f"model is {model!r}, not a loaded model: pass zipmap_jax.load({model!r})")
    size = default_size(model) if size is None else size
    require_whole(None, size=size)
    require_whole(chunk=chunk, devices=devices)
    read = ReadOptions(size, mode, fps, max_views, strict, exif, output_size)
    compute = ComputeOptions(chunk, devices, scratch)
    _check_options(model, read, compute)
    sources = list_sources(inputs, read)
    free = free_memory()
    plan = plan_scene(model, sources, free_before_loading(free, model.params), read, compute)
    if on_plan:
        on_plan(plan)
    elif not plan.estimate.fits:
        warnings.warn(plan.estimate.text, stacklevel=2)
    store = SceneStore(results_in_memory(free[1]), scratch)
    name = str(model.card.get("name", model.model.name))
    builder = SceneBuilder(store, model=name, align_first_view=align_first_view)
    if plan.several_calls:
        stream_scene(model, sources, read, plan, builder, progress, on_program)
        return builder.scene()
    images, pixel_maps = read_views(model, sources, read, builder, progress)
    compute = dataclasses.replace(compute, chunk=plan.workload.chunk)
    prediction = predict(model, images, compute, plan.rounded, progress, on_program)
    del images
    builder.add_predictions(prediction, pixel_maps, progress)
    return builder.scene()


def read_views(
    model: LoadedModel,
    sources: Sequence[ImageSource],
    options: ReadOptions,
    builder: SceneBuilder,
    progress: Progress | None = None,
) -> tuple[UInt8[np.ndarray, "v h w 3"], list[PixelMap]]:
    """Reads all views of a scene; their frames are added to the builder.

    Args:
      model: from `zipmap_jax.load`.
      sources, options, progress: see `zipmap_jax.images.network_frames`.
      builder: the scene.

    Returns:
      Network images of one size, and the map from each to its original.

    Raises:
      UserError: no source can be read, or the first error if `options.strict`.
    """
    networks = []
    preparation = model.model.preparation
    with network_frames(sources, options, preparation, progress=progress) as reader:
        for frame, network in reader:
            builder.add_frame(frame)
            networks.append(network)
            del frame
    return stacked(preparation, networks)


def predict(
    model: LoadedModel,
    images: UInt8[np.ndarray, "v h w 3"],
    options: ComputeOptions | None = None,
    rounded: bool = True,
    progress: Progress | None = None,
    on_program: Callable[[Program], None] | None = None,
) -> Prediction:
    """Predicts cameras, depth and confidence from network images.

    Args:
      model: from `zipmap_jax.load`.
      images: RGB at network size.
      options: chunk (None = all views at a time) and devices.
      rounded: pad the views to a common number, see `zipmap_jax.inference.buckets`, instead of
        whole chunks.
      progress, on_program: as in `reconstruct`.

    Returns:
      Host arrays for a batch of one scene.

    Raises:
      UserError: the images are not uint8, or memory ran out.
    """
    chunk, devices = (options.chunk, options.devices) if options else (None, 1)
    views, height, width, _ = images.shape
    sizes, streams = [(height, width)] * views, model.model.streams
    bucket = bucket_of(
        views, sizes[0], chunk=chunk, devices=devices, rounded=rounded, streams=streams
    )
    workload = workload_of(model.model, model.params, sizes, sizes[0], chunk, devices=devices)
    remedy = memory_remedy(workload)
    return predict_scenes(model, [images], bucket, remedy, progress, on_program)[0]


def predict_scenes(
    model: LoadedModel,
    scenes: Sequence[UInt8[np.ndarray, "v h w 3"]],
    bucket: Bucket,
    remedy: str,
    progress: Progress | None = None,
    on_program: Callable[[Program], None] | None = None,
) -> list[Prediction]:
    """Predicts up to `bucket.scenes` scenes together; see `predict`.

    Args:
      model: from `zipmap_jax.load`.
      scenes: network images of each scene, of the bucket's size and at most its views.
      bucket: shape of the program.
      remedy: how to reduce the memory, for the error.
      progress, on_program: as in `reconstruct`.

    Raises:
      UserError: the images are not uint8, or memory ran out.
    """
    report = progress or ignore_progress
    with out_of_memory_error(remedy):
        # On the host, since the devices receive one chunk after the other.
        views = Views(*fill(scenes, bucket))  # pyright: ignore[reportArgumentType]
        program = compiled_update(model.model, model.params, bucket, report, on_program)
        prediction = program.run(model.params, views, functools.partial(report, "running"))
    return [_of_scene(prediction, i, len(scene)) for i, scene in enumerate(scenes)]


def _of_scene(prediction: Prediction, i: int, views: int) -> Prediction:
    """The first views of scene `i`, as a batch of one."""

    def cut(x: np.ndarray, axis: int) -> np.ndarray:
        return x[(slice(i, i + 1), *(slice(None),) * (axis - 1), slice(views))]

    return map_views(cut, prediction)


def _check_options(model: LoadedModel, read: ReadOptions, compute: ComputeOptions) -> None:
    size = read.size or 0
    model.model.preparation.resized_shape((size, size), size, read.mode)
    check_devices(compute.devices, model.model)
