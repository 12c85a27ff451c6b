"""Offline reconstruction: photographs, videos or arrays in, one `Scene` out."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.errors import UserError, is_out_of_memory
from zipmap_jax.geometry.pixel_map import PixelMap
from zipmap_jax.images.decode import Frame
from zipmap_jax.images.preparation import fit_all
from zipmap_jax.images.resize import Mode
from zipmap_jax.images.sources import (
    ImageSource,
    evenly_spaced,
    list_sources,
    read_sources,
)
from zipmap_jax.inference.assemble import assemble
from zipmap_jax.inference.buckets import Bucket, bucket_of, fill
from zipmap_jax.inference.compile import Program, compiled_update
from zipmap_jax.inference.devices import check_devices
from zipmap_jax.inference.memory import (
    MemoryEstimate,
    Workload,
    beside,
    free_memory,
    smaller,
    workload_of,
)
from zipmap_jax.inference.scene_plan import plan_scene
from zipmap_jax.models.api import Preparation
from zipmap_jax.scene.scene import Scene
from zipmap_jax.structs import Prediction, Progress, Views

if TYPE_CHECKING:
    from jaxtyping import UInt8

    from zipmap_jax.convert.hub import LoadedModel


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
    progress: Progress | None = None,
    on_estimate: Callable[[MemoryEstimate], None] | None = None,
    on_program: Callable[[Program], None] | None = None,
) -> Scene:
    """Cameras and depth of every image, at its original size and pixel grid.

    All views are zipped into one state, from the initial one.

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
      progress: called as `progress(stage, done, total)` with the stages "reading", "compiling",
        "running" and "assembling".
      on_estimate: called with the memory estimate before the inputs are read; None = warn if it
        exceeds what is free.
      on_program: called with the program that was chosen, once it is compiled.

    Raises:
      UserError: bad input or options, or not enough memory; one sentence with the remedy.
    """
    size = default_size(model) if size is None else size
    preparation = model.model.preparation
    _check_options(preparation, size, mode, chunk)
    check_devices(devices, model.model)
    sources = evenly_spaced(list_sources(inputs, fps, strict), max_views)
    plan = plan_scene(
        model,
        sources,
        beside(free_memory(), model.params),
        size=size,
        mode=mode,
        exif=exif,
        chunk=chunk,
        devices=devices,
    )
    if on_estimate:
        on_estimate(plan.estimate)
    elif not plan.estimate.fits:
        warnings.warn(plan.estimate.text, stacklevel=2)
    frames, images, pixel_maps = read_views(
        sources, preparation, size, mode, fps=fps, exif=exif, strict=strict, progress=progress
    )
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
    return assemble(
        prediction,
        frames,
        pixel_maps,
        model=str(model.card.get("name", model.model.name)),
        align_first_view=align_first_view,
        progress=progress,
    )


def read_views(
    sources: Sequence[ImageSource],
    preparation: Preparation,
    size: int,
    mode: str,
    *,
    fps: float = 1.0,
    exif: bool = True,
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Frame], UInt8[np.ndarray, "v h w 3"], list[PixelMap]]:
    """Frames at their original size, as network images, and how the two grids lie on each other.

    Raises:
      UserError: as `read_sources`, or a frame is too small for the network.
    """

    def large_enough(frame: Frame) -> None:
        try:
            height, width = frame.image.shape[:2]
            preparation.resized_shape((height, width), size, mode)
        except UserError as error:
            raise UserError(f"{frame.name}: {error}") from error

    frames = read_sources(
        sources, fps, exif=exif, strict=strict, check=large_enough, progress=progress
    )
    return frames, *fit_all(preparation, frames, size, mode)


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
      images: RGB at network size, see `fit_all`.
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
    try:
        # On the host, from where the devices get one chunk after the other.
        views = Views(*fill(scenes, bucket))  # pyright: ignore[reportArgumentType]
        report("compiling", 0, 1)
        program = compiled_update(model.model, model.params, bucket)
        report("compiling", 1, 1)
        if on_program:
            on_program(program)
        running = functools.partial(report, "running")
        prediction = program.run(model.params, views, running)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"memory ran out: {advice}") from error
    return [
        jax.tree.map(lambda x, i=i, n=n: x[i : i + 1, :n], prediction)
        for i, n in enumerate(map(len, scenes))
    ]


def default_size(model: LoadedModel) -> int:
    """Network image size a model was made for: its card's "size", else its default."""
    return int(model.card.get("size") or model.model.default_size)


def _check_options(preparation: Preparation, size: int, mode: str, chunk: int | None) -> None:
    preparation.resized_shape((size, size), size, mode)
    if chunk is not None and chunk < 1:
        raise UserError(f"chunk must be at least 1 view, got {chunk}: leave it out to choose it")


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
