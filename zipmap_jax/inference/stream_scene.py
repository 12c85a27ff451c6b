"""Reconstruction of a stream: frames go to the device, and predictions come back, chunk by chunk.

Frames at their original size go to the store of the scene as they are read, so no more than
`zipmap_jax.images.frames.AHEAD` of them and one are decoded outside it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.images.frames import NetworkImage, network_frames
from zipmap_jax.inference.compile import compiled_update
from zipmap_jax.inference.memory import memory_advice, smaller
from zipmap_jax.inference.stream_program import StreamProgram
from zipmap_jax.structs import Views

if TYPE_CHECKING:
    from zipmap_jax.convert.hub import LoadedModel
    from zipmap_jax.geometry.pixel_map import PixelMap
    from zipmap_jax.images.decode import Frame
    from zipmap_jax.images.options import ReadOptions
    from zipmap_jax.images.sources import ImageSource
    from zipmap_jax.inference.assemble import SceneBuilder
    from zipmap_jax.inference.compile import Program
    from zipmap_jax.inference.scene_plan import ScenePlan
    from zipmap_jax.structs import Progress


def stream_scene(
    model: LoadedModel,
    sources: Sequence[ImageSource],
    read: ReadOptions,
    plan: ScenePlan,
    builder: SceneBuilder,
    *,
    report: Progress,
    on_program: Callable[[Program], None] | None = None,
) -> None:
    """Read, predict and assemble the views of a stream.

    The network images have the size that the headers of all sources give; an image that is larger
    is left out.

    Args:
      model: a model that `streams`.
      sources: from `list_sources`.
      read: how they are read, with a size.
      plan: of the scene.
      builder: takes the views.
      report: called with the stages "reading", "compiling" and "running".
      on_program: called with the program, once it is compiled.

    Raises:
      UserError: nothing can be read, or memory ran out.
    """
    bucket = plan.bucket
    size = bucket.height, bucket.width
    preparation = model.model.preparation
    with (
        network_frames(sources, read, preparation, size, report) as reader,
        memory_advice(smaller(plan.workload)),
    ):
        first = next(reader)  # raises before anything is compiled
        report("compiling", 0, 1)
        program = compiled_update(model.model, model.params, bucket)
        report("compiling", 1, 1)
        if on_program:
            on_program(program)
        run = program.run
        assert isinstance(run, StreamProgram)
        pixel_maps: deque[PixelMap] = deque()
        frames = itertools.chain([first], reader)
        del first
        chunks = _chunks(frames, run.bucket.views, builder, pixel_maps)
        calls = -(-len(sources) // run.bucket.views)
        done = 0
        report("running", done, calls)
        for done, prediction in enumerate(run.predictions(model.params, chunks), start=1):
            views = prediction.depth.shape[1]
            builder.add_predictions(prediction, [pixel_maps.popleft() for _ in range(views)])
            report("running", done, calls)
    if done < calls:  # some sources were left out
        report("running", calls, calls)


def _chunks(
    frames: Iterable[tuple[Frame, NetworkImage]],
    size: int,
    builder: SceneBuilder,
    pixel_maps: deque[PixelMap],
) -> Iterator[Views]:
    """Network images of `size` frames at a time; the frames themselves go to the builder."""
    images: list[np.ndarray] = []

    def taken() -> Views:
        valid = np.ones((1, len(images)), bool)
        return Views(np.stack(images)[None], valid)  # pyright: ignore[reportArgumentType]

    for frame, network in frames:
        builder.add_frame(frame)
        pixel_maps.append(network.pixel_map)
        images.append(network.image)
        del frame, network
        if len(images) == size:
            yield taken()
            images.clear()
    if images:
        yield taken()
