"""Batches of a mixture on the host, read ahead by grain's threads and processes.

    with loader(mixture, shape_of, steps=1000, microbatches=8, workers=4) as batches:
        for batch in batches:
            ...

The batch of a step is a function of (seed, step) alone. Microbatch i of step s is element
`s * microbatches + i` of a random-access source, so batches do not depend on the first step, on the
number of hosts or on the number of workers.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zipmap_jax.data.batch_arrays import LOADED
from zipmap_jax.errors import MissingPackageError, UserError

if TYPE_CHECKING:
    from jaxtyping import Shaped

    from zipmap_jax.data.frame import PosedFrame
    from zipmap_jax.data.mixture import Mixture

    HostBatch = dict[str, Shaped[np.ndarray, "..."]]


class Shape(Protocol):
    """A batch shape, such as `zipmap_jax.data.config.BatchShape`."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def batch(self) -> int: ...
    def views_to_draw(self) -> int: ...


ShapeOf = Callable[[int], Shape]
"""Batch shape by step, the same on every host; workers call it, so it must be picklable."""


def loader(
    mixture: Mixture,
    shape_of: ShapeOf,
    *,
    steps: int,
    start: int = 0,
    microbatches: int = 1,
    host: int = 0,
    hosts: int = 1,
    workers: int = 0,
    threads: int = 2,
    prefetch: int = 2,
) -> Loader:
    """Iterate over the batches of the steps from `start` to `steps`.

    Args:
      mixture: draws the scenes.
      shape_of: batch shape of every step.
      steps: length of the run.
      start: first step; batches equal those of an uninterrupted run.
      microbatches: microbatches of a batch, over all hosts.
      host, hosts: this process reads the `host`-th of `hosts` equal, contiguous shares of the
        microbatches, as `jax.make_array_from_process_local_data` expects. Processes that hold the
        same part of the leading axis (different views, for example) read the same share.
      workers: reading processes; 0 = threads of this process.
      threads: reading threads of a process.
      prefetch: batches kept ready.

    Raises:
      MissingPackageError: grain is not installed.
      UserError: the microbatches do not divide evenly over the hosts.
    """
    if microbatches % hosts or not 0 <= host < hosts:
        raise UserError(
            f"{hosts} hosts cannot share {microbatches} microbatches evenly (this is host {host}): "
            "make data.microbatches a multiple of the number of hosts"
        )
    share = microbatches // hosts
    source = MicrobatchSource(
        mixture, shape_of, range(host * share, (host + 1) * share), start, steps
    )
    return Loader(_pipeline(source, share, workers, threads, prefetch), mixture.names, start)


class Loader:
    """Iterator over this host's part of the batches; close it, or use it in a `with` block.

    A batch is a dictionary of arrays, with b = local microbatches times scenes of a microbatch
    (types and axes: `batch_arrays.LOADED`):

      images: RGB [b, v, h, w, 3].
      depth: z-depth [b, v, h, w], 0 = invalid.
      intrinsics: in pixels of the images [b, v, 3, 3].
      w2c: world to camera [b, v, 4, 4].
      ids: numbers of the frames in their sequence [b, v].
      source, sequence: numbers of the source in the mixture and of the scene in the source [b].

    Attributes:
      sources: names of the sources, in the order of their numbers.
      step: number of the next batch.
      failures: number of draws by source that failed at an unusable frame, in the batches returned
        so far.
    """

    def __init__(self, batches: Any, sources: Sequence[str], start: int) -> None:
        self.sources, self.step = tuple(sources), start
        self.failures = dict.fromkeys(self.sources, 0)
        self._batches = batches

    def __iter__(self) -> Iterator[HostBatch]:
        return self

    def __next__(self) -> HostBatch:
        if self._batches is None:
            raise ValueError("the loader is closed: open another one")
        # Arrays from a worker are views of shared memory, which plain arrays keep alive.
        batch = {name: np.asarray(array) for name, array in next(self._batches).items()}
        for source, count in zip(batch["source"], batch.pop("failures"), strict=True):
            self.failures[self.sources[source]] += int(count)
        self.step += 1
        return batch

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop threads and processes, and release their shared memory."""
        if self._batches is None:
            return
        self._batches.close()
        # Batches that were read ahead keep their shared memory until they are collected, and at
        # the end of the data grain makes them part of a cycle: the frames of a StopIteration.
        self._batches = None
        gc.collect()


class MicrobatchSource:
    """Random access to single microbatches: element i is local microbatch i mod n of a step.

    Args:
      mixture: draws the scenes.
      shape_of: batch shape of a step.
      microbatches: numbers of this host's n microbatches.
      start, steps: first step, and the step after the last.
    """

    def __init__(
        self, mixture: Mixture, shape_of: ShapeOf, microbatches: range, start: int, steps: int
    ) -> None:
        self._mixture, self._shape_of = mixture, shape_of
        self._microbatches, self._start, self._steps = microbatches, start, steps

    def __len__(self) -> int:
        return max(self._steps - self._start, 0) * len(self._microbatches)

    def __getitem__(self, index: int) -> HostBatch:
        steps, microbatch = divmod(int(index), len(self._microbatches))
        step = self._start + steps
        shape = self._shape_of(step)
        views = shape.views_to_draw()
        out = _empty_batch(shape.batch, views, shape.height, shape.width)
        for scene in range(shape.batch):
            size = (shape.height, shape.width)
            drawn = self._mixture.draw(step, self._microbatches[microbatch], scene, views, size)
            for view, frame in enumerate(drawn.views.frames):
                _put(out, (scene, view), frame)
            out["source"][scene] = drawn.source
            out["sequence"][scene] = drawn.views.sequence
            out["failures"][scene] = drawn.failures
        return out


def _empty_batch(scenes: int, views: int, height: int, width: int) -> HostBatch:
    return {
        name: np.empty(array.shape(b=scenes, v=views, h=height, w=width), array.dtype)
        for name, array in LOADED.items()
    }


def _put(batch: HostBatch, place: tuple[int, int], frame: PosedFrame) -> None:
    batch["images"][place] = frame.image
    batch["depth"][place] = frame.depth
    batch["intrinsics"][place] = frame.intrinsics
    batch["w2c"][place] = frame.w2c
    batch["ids"][place] = frame.id


def _pipeline(
    source: MicrobatchSource, share: int, workers: int, threads: int, prefetch: int
) -> Any:
    """Iterate over the batches of whole steps.

    Workers read microbatches, not scenes or steps: a microbatch has about 50 images in every
    bucket, and as microbatches are joined after the workers, batches do not depend on their number.
    """
    grain = _grain()
    buffered = max(prefetch, 1) * share
    reading = grain.ReadOptions(
        num_threads=max(threads, 1),
        prefetch_buffer_size=max(threads, 1) if workers else max(buffered, threads, 1),
    )
    microbatches = grain.MapDataset.source(source).to_iter_dataset(reading)
    if workers:
        options = grain.MultiprocessingOptions(workers, -(-buffered // workers))
        microbatches = microbatches.mp_prefetch(options, _start_worker)
    return iter(microbatches.batch(share, drop_remainder=True, batch_fn=_join))


def _join(microbatches: Sequence[HostBatch]) -> HostBatch:
    """Concatenate microbatches along the leading axis."""
    if len(microbatches) == 1:
        return microbatches[0]
    return {
        name: np.concatenate([microbatch[name] for microbatch in microbatches])
        for name in microbatches[0]
    }


def _grain() -> Any:
    try:
        import grain
        from absl import flags
    except ImportError as error:
        raise MissingPackageError(
            'reading data needs the package grain: pip install "zipmap-jax[data]"'
        ) from error
    # Workers receive grain's command line flags, which a program without absl.app never parses.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    return grain


def _start_worker(index: int, count: int) -> None:
    """Restrict JAX, which only procedural scenes use, to the CPU in a worker."""
    del index, count
    os.environ["JAX_PLATFORMS"] = "cpu"
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_platforms", "cpu")
