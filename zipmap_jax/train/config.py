"""What a training run is: frozen dataclasses that every checkpoint carries as JSON."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

from zipmap_jax.losses import LossConfig
from zipmap_jax.models.config import ZipMapConfig

_T = TypeVar("_T")


def require_at_least(config: Any, name: str, **least: int) -> None:
    """Refuse numbers of a configuration that make no sense, naming the field and the bound."""
    for field, bound in least.items():
        value = getattr(config, field)
        if value < bound:
            raise ValueError(f"{name} has {field}={value}: it must be at least {bound}")


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW (or Muon) with warm-up, cosine and clipping.

    Attributes:
      lr: peak learning rate of every parameter that no group names.
      lr_groups: (shell pattern over "a/b/c" parameter paths, peak learning rate); first match wins.
      lr_floor: learning rate at the first step and at the end.
      warmup: share of the run spent warming up.
      muon: patterns of matrices that Muon updates instead of Adam, at the same learning rate.
      undecayed: patterns of parameters without weight decay, besides biases and vectors.
      frozen: patterns of parameters that are never changed.
      clip: largest L2 norm of a gradient; 0 = no clipping.
      clip_modules: (module, norm) where a module's bound differs from `clip`; needs
        `clip_by="module"`.
      clip_by: one norm over everything ("global"), or one per module: each head, and all the rest.
    """

    lr: float = 1e-5
    lr_groups: tuple[tuple[str, float], ...] = ()
    lr_floor: float = 1e-8
    warmup: float = 0.05
    weight_decay: float = 0.05
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    muon: tuple[str, ...] = ()
    undecayed: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ("embedder/mask_token",)
    clip: float = 1.0
    clip_modules: tuple[tuple[str, float], ...] = ()
    clip_by: Literal["module", "global"] = "module"


@dataclasses.dataclass(frozen=True)
class EmaConfig:
    """Moving average of the parameters: a copy of them up to step `start`, averaged after it."""

    decay: float = 0.999
    start: int = 200
    interval: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, "the moving average", interval=1)


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
class Bucket:
    """One batch shape; every bucket is one compiled program.

    Attributes:
      views: input views of a scene.
      batch: scenes per slot.
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
            raise ValueError(
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

    A batch is made of `slots`, each with `Bucket.batch` scenes and a loss of its own; the objective
    is their mean. Slots are spread over the devices, and run one after another on a device that has
    several: the numbers of a run do not depend on the number of its devices.

    Attributes:
      buckets: batch shapes, one drawn per step.
      slots: parts of a batch (the recipe's number of GPUs).
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

    buckets: tuple[Bucket, ...]
    slots: int = 1
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


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How devices are arranged.

    Attributes:
      data: copies of the model, each working on slots of its own; 0 = as many as devices allow.
      fsdp: devices among which parameters, moments and moving average are split; they work on
        different slots, too.
      views: devices among which the views of a scene are split.
    """

    data: int = 0
    fsdp: int = 1
    views: int = 1


@dataclasses.dataclass(frozen=True)
class StartConfig:
    """The parameters a new run starts from.

    Attributes:
      kind: "random"; "vggt", a released VGGT-1B checkpoint; "weights", a model folder, a torch
        checkpoint of ZipMap, or the work directory of an earlier run.
      path: of the file or folder.
      weights: which parameters of an earlier run; the recipe hands on the raw ones.
      like: (module that the given weights lack, module whose tensors of the same name and shape it
        starts from), with kind "weights".
    """

    kind: Literal["random", "vggt", "weights"] = "random"
    path: str = ""
    weights: Literal["params", "ema"] = "params"
    like: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """What a run tells, and how often.

    Attributes:
      every: steps between two lines.
      writers: "console" and "json" always make sense; "tensorboard" and "wandb" need the packages.
      pictures_every: steps between two sets of pictures (input, depth, error, points); 0 = none.
      profile_at: step at which a trace of `profile_steps` steps is recorded; 0 = never.
    """

    every: int = 20
    writers: tuple[str, ...] = ("console", "json")
    pictures_every: int = 200
    profile_at: int = 0
    profile_steps: int = 5


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    Attributes:
      steps: length of the run; the schedule spans it.
      start: what a new run starts from.
      mesh: arrangement of the devices.
      token_scale: initial standard deviation of the special tokens; None = the published 1e-6.
      policy: number formats, a name in `zipmap_jax.models.config.POLICIES`.
      remat: recompute blocks in the backward pass instead of keeping their activations.
      chunk: views of every scene that a device works on at once, and images in the dense heads;
        bounds memory and changes no number; 0 = all.
      compile_ahead: compile every bucket's program before the first step.
      eval_every: steps between two evaluations, made at the end, too; 0 = never.
      save_every: steps between two checkpoints, made at the end, too; 0 = not in between.
      save_minutes: a checkpoint is also due when this many minutes have passed since the last;
        not in runs of several processes, whose clocks differ.
      keep: newest checkpoints kept in the work directory.
      keep_every: checkpoints at multiples of this many steps are kept for good; 0 = none.
      held_out: shape of the held-out scenes, which are procedural whatever the run trains on.
      eval_scenes: number of them in the regular evaluation.
      notes: what users of the trained weights should know; they go into the exported card.
      max_skipped: the run is given up after this many non-finite steps in a row.
    """

    name: str
    model: ZipMapConfig
    data: DataConfig
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    ema: EmaConfig = EmaConfig()
    start: StartConfig = StartConfig()
    mesh: MeshConfig = MeshConfig()
    log: LogConfig = LogConfig()
    steps: int = 1000
    seed: int = 42
    token_scale: float | None = None
    policy: str = "fp32"
    remat: bool = False
    chunk: int = 0
    compile_ahead: bool = False
    eval_every: int = 500
    save_every: int = 250
    save_minutes: float = 5.0
    keep: int = 3
    keep_every: int = 0
    held_out: Bucket = Bucket(views=8, height=112, width=154, batch=4)
    eval_scenes: int = 16
    max_skipped: int = 50
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        least = dict(steps=1, seed=0, keep=1, keep_every=0, eval_scenes=1, max_skipped=1, chunk=0)
        require_at_least(self, f"the run {self.name}", **least)
        require_at_least(self.data, "data", slots=1, workers=0, threads=1, retries=0)
        for bucket in (*self.data.buckets, self.held_out):
            if bucket.height % self.model.patch or bucket.width % self.model.patch:
                raise ValueError(
                    f"images of {bucket.height}x{bucket.width} do not fit the model: height and "
                    f"width of data.buckets and held_out must be multiples of {self.model.patch}"
                )


def to_json(config: Any) -> dict[str, Any]:
    """Plain nested dictionary of a configuration."""
    return dataclasses.asdict(config)


def from_json(cls: type[_T], data: dict[str, Any]) -> _T:
    """Configuration back from `to_json` (also after a round trip through JSON text).

    Fields that `data` lacks keep their defaults, so that older checkpoints stay readable.

    Raises:
      ValueError: for a key that the configuration does not have.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - fields):
        raise ValueError(
            f"{cls.__name__} has no field {', '.join(unknown)}: "
            "the file was written by another version of zipmap-jax"
        )
    return cls(**{name: _value(hints[name], value) for name, value in data.items()})


def _value(hint: Any, value: Any) -> Any:
    """`value` as the annotated type wants it: dataclasses rebuilt, lists made tuples."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _value(next(arg for arg in args if arg is not types.NoneType), value)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_json(typing.cast(type, hint), value)
    if origin is tuple:
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(_value(kind, item) for kind, item in zip(inner, value, strict=True))
    return value
