"""`zipmap bench loader`: speed of reading training data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.train.config.schema import TrainConfig

STARVES = 1
"""Exit code when the device would wait for the data."""


@dataclasses.dataclass(frozen=True)
class BenchLoader:
    """Measure the data loader: images per second, in all and per worker.

    The input is a training configuration, or a source and a batch shape. With --images-per-second,
    the exit code is 1 if the device would wait.

    Attributes:
      config: Python file of a training run, with its mixture, shapes and processes.
      source: data set to measure without a configuration.
      root: folder of the data set.
      views: views per scene.
      height: height of the images in pixels.
      width: width of the images in pixels.
      batch: scenes per batch.
      workers: reading processes, 0 = threads of this process [the configuration's, or 0].
      threads: reading threads per process [the configuration's, or 2].
      batches: number of batches to measure.
      images_per_second: images per second that the device consumes.
      json: print one JSON object instead of text.
    """

    config: Path | None = None
    source: str = "procedural"
    root: Path | None = None
    views: int = 8
    height: int = 112
    width: int = 154
    batch: int = 4
    workers: int | None = None
    threads: int | None = None
    batches: int = 16
    images_per_second: float | None = None
    json: bool = False

    def __call__(self) -> int:
        from zipmap_jax.bench.loader import as_dict, measure
        from zipmap_jax.data.open import open_loader
        from zipmap_jax.files import dumps

        if self.batches < 1 or (self.images_per_second or 1) <= 0:
            raise UserError(
                f"--batches {self.batches} and --images-per-second {self.images_per_second} must "
                "be positive: leave them out"
            )
        config = self._configuration()
        data = config.data
        # Each worker and each slot of the queue may hold a batch before the clock starts.
        warm_up = max(data.workers, 1) + data.prefetch
        with open_loader(data, config.steps, config.seed) as batches:
            speed = measure(batches, self.batches, warm_up, data.workers)
            facts = as_dict(speed, self.images_per_second)
            facts["failures"] = batches.failures
        print(dumps(facts) if self.json else "\n".join(_as_text(facts)))
        return STARVES if facts.get("starves") else 0

    def _configuration(self) -> TrainConfig:
        """The configuration to measure, with the workers and threads of the command line."""
        from zipmap_jax.train.config.registry import load

        config = load(self.config) if self.config else self._default_configuration()
        options = {"workers": self.workers, "threads": self.threads}
        changes = {name: value for name, value in options.items() if value is not None}
        data = dataclasses.replace(config.data, **changes)
        return dataclasses.replace(config, data=data)

    def _default_configuration(self) -> TrainConfig:
        """A configuration of one source and one shape."""
        from zipmap_jax.data.config import BatchShape, DataConfig, SourceConfig
        from zipmap_jax.models.presets import preset
        from zipmap_jax.train.config.schema import TrainConfig

        bucket = BatchShape(self.views, self.height, self.width, self.batch)
        source = SourceConfig(self.source, root=str(self.root or ""))
        data = DataConfig(buckets=(bucket,), engine="loader", mixture=(source,))
        return TrainConfig("eval_loader", preset("tiny", "offline"), data, steps=1_000_000)


def _as_text(facts: dict[str, Any]) -> list[str]:
    lines = [
        f"{facts['images_per_second']:.1f} images/s, "
        f"{facts['images_per_second_and_worker']:.1f} per worker ({facts['workers']})",
        f"{facts['seconds_per_batch']:.3f} s per batch, the slowest "
        f"{facts['slowest_batch_seconds']:.3f} s; {facts['batches']} batches",
    ]
    lines += [f"{name}: {n} draws repeated" for name, n in facts["failures"].items() if n]
    if "starves" in facts:
        rate = facts["device_images_per_second"]
        lines.append(
            f"a device of {rate:g} images/s would wait {facts['idle_share']:.0%} of its time: "
            f"about {facts['workers_needed']} workers would feed it"
            if facts["starves"]
            else f"enough for a device of {rate:g} images/s"
        )
    return lines
