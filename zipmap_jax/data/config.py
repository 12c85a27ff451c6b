"""Configuration of the data: sources, batch shapes, crops and colour jitter."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zipmap_jax.errors import UserError, require_at_least


@dataclasses.dataclass(frozen=True)
class JitterConfig:
    """Colour augmentation: factors are drawn from [1 - x, 1 + x], hue shifts (turns) from [-x, x].

    Attributes:
      brightness, contrast, saturation, hue: x of each operation.
      gamma: logarithms of exponents are drawn from [-gamma, gamma]; 0 = none.
      probability: share of the draws that change the colours.
      grayscale: share of the draws that lose all colour.
      independent: share of the scenes with a draw for every view instead of one for all.
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
    """One batch shape (a bucket); every bucket is one compiled program.

    Attributes:
      views: input views of a scene.
      height, width: size of the views in pixels.
      batch: scenes per microbatch.
      targets: target views of a scene, which a state query renders.
      drawn: views of a scene from which input and target views are chosen; 0 = views + targets - 1,
        so one target is also an input view.
      weight: relative frequency among the buckets open at a step.
      start, end: shares of the run at which the bucket opens and closes.
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
        require_at_least(self, "a bucket", views=1, height=1, width=1, batch=1, targets=0, drawn=0)
        needed = self.views + max(self.targets - 1, 0)
        if 0 < self.drawn < needed:
            raise UserError(
                f"a bucket draws {self.drawn} views, but {self.views} views and {self.targets} "
                f"targets need {needed}: raise drawn or leave it at 0"
            )

    def views_to_draw(self) -> int:
        """Number of views of a scene before they are split into input and target views."""
        return self.drawn or self.views + max(self.targets - 1, 0)


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """One data set of a mixture.

    Attributes:
      name: name in the table of data sets, "posed_folder" or "procedural".
      weight: relative frequency (in thousands in the recipe); 0 = not drawn.
      root: folder; empty = `DataConfig.root`/name.
      video_prob, max_interval: settings of the frame sampler; None = the data set's own.
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
      scales: range of the shares of height and width that a first crop keeps; None = no crop.
      zoom: largest share by which the frame is resized beyond the target size; 0 = none.
    """

    scales: tuple[float, float] | None = (0.8, 1.2)
    zoom: float = 0.3


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Sources, shapes and augmentation of batches.

    A batch consists of `microbatches`, each with `BatchShape.batch` scenes and its own loss; the
    objective is their mean. Microbatches are spread over the devices, and a device runs its own one
    after another, so the numbers of a run do not depend on the number of devices.

    Attributes:
      buckets: batch shapes, one drawn per step.
      microbatches: parts of a batch (in the recipe: the number of GPUs).
      engine: "device" draws procedural scenes on the accelerator, "loader" reads `mixture`.
      mixture: data sets of the loader.
      root: folder that holds the data sets.
      crop: geometry augmentation of recorded frames; None = centre crops.
      jitter: colour augmentation; None = none.
      borders: share of the scenes with white borders, as padding to a square adds them.
      shuffle_views: put the views of every procedural scene in random order.
      min_views: sequences with fewer frames are never drawn, unless the table of data sets has a
        number for the data set.
      workers: reading processes; 0 = threads of the main process.
      threads: reading threads of a process.
      prefetch: batches kept ready.
      retries: largest number of draws after a frame that cannot be used; then the run stops.
    """

    buckets: tuple[BatchShape, ...]
    microbatches: int = 1
    engine: Literal["device", "loader"] = "device"
    mixture: tuple[SourceConfig, ...] = ()
    root: str = "data"
    crop: CropConfig | None = CropConfig()
    jitter: JitterConfig | None = JitterConfig()
    borders: float = 0.0
    shuffle_views: bool = True
    min_views: int = 2
    workers: int = 0
    threads: int = 2
    prefetch: int = 2
    retries: int = 8

    def __post_init__(self) -> None:
        if not self.buckets:
            raise UserError("data.buckets is empty: give at least one batch shape")
