"""Offline reconstruction: photographs, videos or arrays in, one `Scene` out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from zipmap_jax.errors import is_out_of_memory
from zipmap_jax.inference.compile import compiled_update, padded_views
from zipmap_jax.inference.images import Frame
from zipmap_jax.inference.memory import (
    MemoryEstimate,
    Workload,
    automatic_chunk,
    estimate_memory,
    free_memory,
    smaller,
    workload_of,
)
from zipmap_jax.inference.resize import Mode, fit_all, network_shape, resized_shape
from zipmap_jax.inference.scene import assemble
from zipmap_jax.inference.sources import (
    Source,
    evenly_spaced,
    list_sources,
    probe_sizes,
    read_sources,
)
from zipmap_jax.structs import Prediction, Progress, Scene, Views

if TYPE_CHECKING:
    from jaxtyping import Float

    from zipmap_jax.convert.hub import LoadedModel


def reconstruct(
    model: LoadedModel,
    inputs: Any,
    *,
    size: int | None = None,
    mode: Mode = "crop",
    chunk: int | None = None,
    max_views: int | None = None,
    fps: float = 1.0,
    strict: bool = False,
    exif: bool = True,
    align_first_view: bool = True,
    progress: Progress | None = None,
    on_estimate: Callable[[MemoryEstimate], None] | None = None,
) -> Scene:
    """Cameras and depth of every image, at its original size and pixel grid.

    All views go through one `update` from the initial state.

    Args:
      model: from `zipmap_jax.load`.
      inputs: a folder, file, glob, video, array [h, w, 3] or [v, h, w, 3] (uint8, or floating
        point in [0, 1]), or a sequence of these.
      size: network image size in pixels, a multiple of the patch size; None = the model's own.
      mode: "crop" makes the width `size` and crops taller images; "pad" makes the longer side
        `size` and pads to a square with white.
      chunk: views worked on at a time, which bounds memory and does not change the result; None =
        chosen by the memory that is free.
      max_views: evenly spaced subset of the views; None = all.
      fps: frames taken per second of video.
      strict: fail on an unreadable image or video instead of leaving it out with a warning.
      exif: apply the orientation recorded in images and videos.
      align_first_view: express poses in the first camera's frame.
      progress: called as `progress(stage, done, total)` with the stages "reading", "compiling",
        "running" and "assembling".
      on_estimate: called with the memory estimate before the inputs are read; None = warn if it
        exceeds what is free.

    Raises:
      ValueError: bad input or options, or not enough memory; one sentence with the remedy.
    """
    size = default_size(model) if size is None else size
    patch = model.model.config.patch
    _check_options(size, patch, mode, chunk)
    sources = evenly_spaced(list_sources(inputs, fps, strict), max_views)
    workload = _plan(model, sources, size, mode, chunk, exif, on_estimate)

    def large_enough(frame: Frame) -> None:
        try:
            height, width = frame.image.shape[:2]
            resized_shape(height, width, size, patch, mode)
        except ValueError as error:
            raise ValueError(f"{frame.name}: {error}") from error

    frames = read_sources(
        sources, fps, exif=exif, strict=strict, check=large_enough, progress=progress
    )
    images, pixel_maps = fit_all(frames, size, patch, mode)
    prediction = predict(model, images, chunk=workload.chunk, workload=workload, progress=progress)
    return assemble(
        prediction,
        frames,
        pixel_maps,
        model=str(model.card.get("name", model.model.config.preset)),
        align_first_view=align_first_view,
        progress=progress,
    )


def predict(
    model: LoadedModel,
    images: Float[np.ndarray, "v h w 3"],
    *,
    chunk: int | None = None,
    workload: Workload | None = None,
    progress: Progress | None = None,
) -> Prediction:
    """One compiled offline update over network images.

    Args:
      model: from `zipmap_jax.load`.
      images: RGB in [0, 1] at network size, as `fit_all` makes them.
      chunk: views worked on at a time; None = all.
      workload: what to base advice on if memory runs out; None = derived from `images`.
      progress: as in `reconstruct`.

    Returns:
      Host arrays for a batch of one: depth, confidence and the last pose encoding of each view.

    Raises:
      ValueError: memory ran out.
    """
    report = progress or _silent
    chunk = chunk and min(chunk, len(images))
    if workload is None:
        sizes = [images.shape[1:3]] * len(images)
        workload = workload_of(model.model, model.params, sizes, images.shape[1:3], chunk)
    try:
        views = Views(*padded_views(images, chunk))
        report("compiling", 0, 1)
        program = compiled_update(model.model, model.params, views, chunk)
        report("compiling", 1, 1)
        report("running", 0, 1)
        prediction = jax.device_get(program(jax.device_put(model.params), views))
        report("running", 1, 1)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(f"memory ran out: {smaller(workload)}") from error
    count = len(images)
    return Prediction(
        depth=prediction.depth[:, :count],
        depth_conf=prediction.depth_conf[:, :count],
        pose_enc=prediction.pose_enc[:, :, :count],
    )


def default_size(model: LoadedModel) -> int:
    """Network image size a model was made for: its card's "size", else its position embedding's."""
    return int(model.card.get("size") or model.model.config.embedder.image_size)


def _check_options(size: int, patch: int, mode: Mode, chunk: int | None) -> None:
    resized_shape(size, size, size, patch, mode)
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1 view, got {chunk}: leave it out to choose it")


def _plan(
    model: LoadedModel,
    sources: Sequence[Source],
    size: int,
    mode: Mode,
    chunk: int | None,
    exif: bool,
    on_estimate: Callable[[MemoryEstimate], None] | None,
) -> Workload:
    """Estimate memory from the headers of the inputs and settle the chunk."""
    patch = model.model.config.patch
    sizes = [s for s in probe_sizes(sources, exif) if _usable(s, size, patch, mode)]
    sizes = sizes or [(size, size)]  # reading will say why there are none
    network_size = network_shape(sizes, size, patch, mode)
    workload = workload_of(model.model, model.params, sizes, network_size, chunk)
    free = free_memory()
    given = chunk is not None
    if not given:
        workload = dataclasses.replace(workload, chunk=automatic_chunk(workload, *free))
    estimate = estimate_memory(workload, *free)
    if estimate.hopeless and not given:
        raise ValueError(f"{estimate.text}; to try all the same, give a chunk yourself")
    if on_estimate:
        on_estimate(estimate)
    elif not estimate.fits:
        warnings.warn(estimate.text, stacklevel=3)
    return workload


def _usable(shape: tuple[int, int], size: int, patch: int, mode: Mode) -> bool:
    try:
        resized_shape(*shape, size, patch, mode)
    except ValueError:
        return False
    return True


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
