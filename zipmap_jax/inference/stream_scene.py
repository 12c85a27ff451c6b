"""Reconstruction of a stream, which is read, predicted and assembled chunk by chunk.

Original images are added to the scene as they are read, so at most `AHEAD` + 1 of
`zipmap_jax.images.frames` are decoded besides those in the scene.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zipmap_jax.images.frames import NetworkImage, network_frames
from zipmap_jax.inference.compile import compiled_update, ignore_progress
from zipmap_jax.inference.memory import memory_remedy, out_of_memory_error
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
    progress: Progress | None = None,
    on_program: Callable[[Program], None] | None = None,
) -> None:
    """Reads, predicts and assembles the views of a stream.

    The headers of all sources determine the size of the network images; a larger image is left out.

    Args:
      model: a model that `streams`.
      sources, read: see `zipmap_jax.images.network_frames`.
      plan: plan of the scene.
      builder: the scene, to which the views are added.
      progress: called with the stages "reading", "compiling" and "running".
      on_program: called with the compiled program.

    Raises:
      UserError: no source can be read, or memory ran out.
    """
    report = progress or ignore_progress
    bucket = plan.bucket
    size = bucket.height, bucket.width
    preparation = model.model.preparation
    with (
        network_frames(sources, read, preparation, size, report) as reader,
        out_of_memory_error(memory_remedy(plan.workload)),
    ):
        first = next(reader)  # raises before anything is compiled
        run = compiled_update(model.model, model.params, bucket, report, on_program).run
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
    """Network images of `size` frames at a time; the frames are added to the builder."""
    images: list[np.ndarray] = []

    def chunk() -> Views:
        valid = np.ones((1, len(images)), bool)
        return Views(np.stack(images)[None], valid)  # pyright: ignore[reportArgumentType]

    for frame, network in frames:
        builder.add_frame(frame)
        pixel_maps.append(network.pixel_map)
        images.append(network.image)
        del frame, network
        if len(images) == size:
            yield chunk()
            images.clear()
    if images:
        yield chunk()
