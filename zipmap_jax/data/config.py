"""Configuration of the data: sources, batch shapes, crops and colour jitter."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from zipmap_jax.errors import UserError


def require_at_least(config: Any, name: str, **least: int) -> None:
    """Refuse numbers of a configuration that make no sense, naming the field and the bound."""
    for field, bound in least.items():
        value = getattr(config, field)
        if value < bound:
            raise UserError(f"{name} has {field}={value}: it must be at least {bound}")


@dataclasses.dataclass(frozen=True)
class JitterConfig:
    """Colour augmentation: factors are drawn from [1 - x, 1 + x], hue shifts (turns) from [-x, x].

    Attributes:
      probability: share of the draws that change anything.
      grayscale: share of the draws that lose all colour.
      independent: share of the scenes whose views are drawn one by one instead of together.
    """

    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.1
    gamma: float = 0.0
    probability: float = 0.9
    grayscale: float = 0.05
    independent: float = 0.3


@dataclasses.dataclass(frozen=True)
class BatchShape:
    """One batch shape; every bucket is one compiled program.

    Attributes:
      views: input views of a scene.
      batch: scenes per microbatch.
      targets: views to be rendered besides, for the state query.
      drawn: views of a scene among which both are chosen; 0 = views + targets - 1, such that one
        target is an input view, too.
      weight: relative frequency among the buckets open at a step.
      start, end: share of the run between which the bucket is open.
    """

    views: int
    height: int
    width: int
    batch: int = 1
    targets: int = 0
    drawn: int = 0
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        least = dict(views=1, height=1, width=1, batch=1, targets=0, drawn=0)
        require_at_least(self, "a bucket", **least)
        needed = self.views + max(self.targets - 1, 0)
        if 0 < self.drawn < needed:
            raise UserError(
                f"a bucket draws {self.drawn} views, but {self.views} views and {self.targets} "
                f"targets need {needed}: raise drawn or leave it at 0"
            )

    def views_to_draw(self) -> int:
        """Views of a scene that a batch needs before it is split into input views and targets."""
        return self.drawn or self.views + max(self.targets - 1, 0)


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """One data set of a mixture.

    Attributes:
      name: a name in the table of data sets, such as "scannet" or "procedural".
      weight: relative frequency (the recipe counts it in thousands).
      root: folder; empty = `DataConfig.root`/name.
      video_prob, max_interval: of the frame sampler; None = the data set's own.
    """

    name: str
    weight: float = 1.0
    root: str = ""
    video_prob: float | None = None
    max_interval: int | None = None


@dataclasses.dataclass(frozen=True)
class CropConfig:
    """Geometry augmentation of a frame (recipe, section 2.5).

    Attributes:
      scales: range of the random crop before everything else; None = no crop.
      zoom: largest share by which the frame is resized beyond the target; 0 = none.
    """

    scales: tuple[float, float] | None = (0.8, 1.2)
    zoom: float = 0.3


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where batches come from.

    A batch is made of `microbatches`, each with `BatchShape.batch` scenes and a loss of its own;
    the objective is their mean. Microbatches are spread over the devices, and run one after another
    on a device that has
    several: the numbers of a run do not depend on the number of its devices.

    Attributes:
      buckets: batch shapes, one drawn per step.
      microbatches: parts of a batch (the recipe's number of GPUs).
      engine: "device" draws procedural scenes on the accelerator, "loader" reads `mixture`.
      mixture: data sets of the loader.
      root: folder that holds the data sets.
      crop: geometry augmentation of recorded frames; None = centre crops.
      jitter: colour augmentation; None = none.
      shuffle_views: put the views of every procedural scene in random order.
      min_views: sequences with fewer frames are never drawn.
      workers: processes that read; 0 = threads of the main process.
      threads: reading threads of a process.
      prefetch: batches kept ready.
      retries: draws after a frame that cannot be read, before the run is given up.
    """

    buckets: tuple[BatchShape, ...]
    microbatches: int = 1
    engine: Literal["device", "loader"] = "device"
    mixture: tuple[SourceConfig, ...] = ()
    root: str = "data"
    crop: CropConfig | None = CropConfig()
    jitter: JitterConfig | None = JitterConfig()
    shuffle_views: bool = True
    min_views: int = 2
    workers: int = 0
    threads: int = 2
    prefetch: int = 2
    retries: int = 8
