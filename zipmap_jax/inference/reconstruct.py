"""Offline reconstruction: photographs, videos or arrays in, one `Scene` out."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.images.frames import network_frames, stacked
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.resize import Mode
from zipmap_jax.images.sources import ImageSource, list_sources
from zipmap_jax.inference.assemble import SceneBuilder
from zipmap_jax.inference.buckets import Bucket, bucket_of, fill
from zipmap_jax.inference.compile import Program, compiled_update
from zipmap_jax.inference.devices import check_devices
from zipmap_jax.inference.memory import (
    MemoryEstimate,
    beside,
    free_memory,
    memory_advice,
    results_in_memory,
    smaller,
    workload_of,
)
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.scene_plan import default_size, plan_scene
from zipmap_jax.inference.stream_scene import stream_scene
from zipmap_jax.models.api import Workload
from zipmap_jax.scene.scene import Scene
from zipmap_jax.scene.store import SceneStore
from zipmap_jax.structs import Prediction, Progress, Views

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
    align_first_view: bool = True,
    scratch: Path | None = None,
    progress: Progress | None = None,
    on_estimate: Callable[[MemoryEstimate], None] | None = None,
    on_program: Callable[[Program], None] | None = None,
) -> Scene:
    """Cameras and depth of every image, at its original size and pixel grid.

    All views are zipped into one state, from the initial one. A model that streams takes them chunk
    by chunk, so no more than a few are in memory at a time; other models hold the network images of
    all views.

    Args:
      model: from `zipmap_jax.load`.
      inputs: a folder, file, glob, video, array [h, w, 3] or [v, h, w, 3] (uint8, or floating
        point in [0, 1]), or a sequence of these.
      size: network image size in pixels, a multiple of the patch size; None = the model's own.
      mode: "crop" makes the width `size` and crops taller images; "pad" makes the longer side
        `size` and pads to a square with white.
      chunk: views worked on at a time, which bounds memory and does not change the result; None =
        chosen by the memory that is free.
      devices: that share the views, the first so many of this process; the result stays the same.
      max_views: evenly spaced subset of the views; None = all.
      fps: frames taken per second of video.
      strict: fail on an unreadable image or video instead of leaving it out with a warning.
      exif: apply the orientation recorded in images and videos.
      align_first_view: express poses in the first camera's frame.
      scratch: where a hidden folder takes the parts of the scene that do not fit in memory, until
        the scene is no longer referenced; None = the system's folder for temporary files.
      progress: called as `progress(stage, done, total)` with the stages "reading", "compiling",
        "running" and, unless the views are streamed, "assembling".
      on_estimate: called with the memory estimate before the inputs are read; None = warn if it
        exceeds what is free.
      on_program: called with the program that was chosen, once it is compiled.

    Raises:
      UserError: bad input or options, or not enough memory; one sentence with the remedy.
    """
    read = ReadOptions(default_size(model) if size is None else size, mode)
    read = dataclasses.replace(read, fps=fps, max_views=max_views, strict=strict, exif=exif)
    compute = ComputeOptions(chunk, devices, scratch)
    _check_options(model, read, compute)
    sources = list_sources(inputs, read)
    free = free_memory()
    plan = plan_scene(model, sources, beside(free, model.params), read, compute)
    if on_estimate:
        on_estimate(plan.estimate)
    elif not plan.estimate.fits:
        warnings.warn(plan.estimate.text, stacklevel=2)
    builder = SceneBuilder(
        SceneStore(results_in_memory(free[1]), scratch),
        model=str(model.card.get("name", model.model.name)),
        align_first_view=align_first_view,
    )
    if plan.in_calls:
        report = progress or _silent
        stream_scene(model, sources, read, plan, builder, report=report, on_program=on_program)
        return builder.scene()
    images, pixel_maps = read_views(model, sources, read, builder, progress)
    prediction = predict(
        model,
        images,
        chunk=plan.workload.chunk,
        workload=plan.workload,
        devices=devices,
        rounded=plan.rounded,
        progress=progress,
        on_program=on_program,
    )
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
    """Read all views of a scene, whose originals go to the builder.

    Args:
      model: from `zipmap_jax.load`.
      sources: from `list_sources`.
      options: how they are read, with a size.
      builder: takes the frames.
      progress: called as `progress("reading", done, total)`.

    Returns:
      Network images of one size, and the map from each to its original.

    Raises:
      UserError: nothing can be read, or the first failure if `options.strict`.
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
    *,
    chunk: int | None = None,
    workload: Workload | None = None,
    devices: int = 1,
    rounded: bool = True,
    progress: Progress | None = None,
    on_program: Callable[[Program], None] | None = None,
) -> Prediction:
    """Zip network images into the initial state.

    Args:
      model: from `zipmap_jax.load`.
      images: RGB at network size.
      chunk: views worked on at a time; None = all.
      workload: what to base advice on if memory runs out; None = derived from `images`.
      devices: as in `reconstruct`.
      rounded: pad to one of few numbers of views, see `zipmap_jax.inference.buckets`; else to whole
        chunks only.
      progress: as in `reconstruct`.
      on_program: as in `reconstruct`.

    Returns:
      Host arrays for a batch of one: cameras, depth and confidence of each view.

    Raises:
      UserError: memory ran out.
    """
    views, *size, _ = images.shape
    bucket = bucket_of(
        views,
        (size[0], size[1]),
        chunk=chunk,
        devices=devices,
        rounded=rounded,
        streams=model.model.streams,
    )
    if workload is None:
        sizes = [images.shape[1:3]] * views
        workload = workload_of(model.model, model.params, sizes, images.shape[1:3], chunk)
    (prediction,) = predict_scenes(
        model, [images], bucket, smaller(workload), progress=progress, on_program=on_program
    )
    return prediction


def predict_scenes(
    model: LoadedModel,
    scenes: Sequence[UInt8[np.ndarray, "v h w 3"]],
    bucket: Bucket,
    advice: str,
    *,
    progress: Progress | None = None,
    on_program: Callable[[Program], None] | None = None,
) -> list[Prediction]:
    """`predict` for up to `bucket.scenes` scenes at once.

    Args:
      model: from `zipmap_jax.load`.
      scenes: network images of each, all of the bucket's size and of at most its views.
      bucket: the program.
      advice: what to do if memory runs out, for the error.
      progress: as in `reconstruct`.
      on_program: as in `reconstruct`.

    Raises:
      UserError: memory ran out.
    """
    report = progress or _silent
    with memory_advice(advice):
        # On the host, from where the devices get one chunk after the other.
        views = Views(*fill(scenes, bucket))  # pyright: ignore[reportArgumentType]
        report("compiling", 0, 1)
        program = compiled_update(model.model, model.params, bucket)
        report("compiling", 1, 1)
        if on_program:
            on_program(program)
        running = functools.partial(report, "running")
        prediction = program.run(model.params, views, running)
    return [
        jax.tree.map(lambda x, i=i, n=n: x[i : i + 1, :n], prediction)
        for i, n in enumerate(map(len, scenes))
    ]


def _check_options(model: LoadedModel, read: ReadOptions, compute: ComputeOptions) -> None:
    size, chunk = read.size or 0, compute.chunk
    model.model.preparation.resized_shape((size, size), size, read.mode)
    if chunk is not None and chunk < 1:
        raise UserError(f"chunk must be at least 1 view, got {chunk}: leave it out to choose it")
    check_devices(compute.devices, model.model)


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
