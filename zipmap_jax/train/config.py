"""What a training run is: frozen dataclasses that every checkpoint carries as JSON."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

from zipmap_jax.losses import LossConfig
from zipmap_jax.models.config import ZipMapConfig

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW (or Muon) with warm-up, cosine and clipping.

    Attributes:
      lr: peak learning rate of every parameter that no group names.
      lr_groups: (shell pattern over "a/b/c" parameter paths, peak learning rate); first match wins.
      lr_floor: learning rate at the first step and at the end.
      warmup: share of the run spent warming up.
      muon: patterns of matrices that Muon updates instead of Adam, at the same learning rate.
      frozen: patterns of parameters that are never changed.
      clip: largest L2 norm of a gradient; 0 = no clipping.
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
    frozen: tuple[str, ...] = ("embedder/mask_token",)
    clip: float = 1.0
    clip_by: Literal["module", "global"] = "module"


@dataclasses.dataclass(frozen=True)
class EmaConfig:
    """Moving average of the parameters: a copy of them up to step `start`, averaged after it."""

    decay: float = 0.999
    start: int = 200
    interval: int = 1


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
      weight: relative frequency among the buckets open at a step.
      start, end: share of the run between which the bucket is open.
    """

    views: int
    height: int
    width: int
    batch: int = 1
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Procedural scenes drawn on the device.

    Attributes:
      buckets: batch shapes, one drawn per step.
      jitter: colour augmentation; None = none.
      shuffle_views: put the views of every scene in random order.
    """

    buckets: tuple[Bucket, ...]
    jitter: JitterConfig | None = JitterConfig()
    shuffle_views: bool = True


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A whole run.

    Attributes:
      steps: length of the run; the schedule spans it.
      token_scale: initial standard deviation of the special tokens; None = the published 1e-6.
      policy: number formats, a name in `zipmap_jax.models.config.POLICIES`.
      remat: recompute blocks in the backward pass instead of keeping their activations.
      microbatches: parts into which every batch is cut, one forward and backward each.
      log_every, eval_every, save_every: intervals in steps, and at the end; 0 = not in between, and
        for evaluation never.
      save_minutes: a checkpoint is also due when this many minutes have passed since the last.
      keep: checkpoints kept in the work directory.
      held_out: shape of the held-out scenes.
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
    steps: int = 1000
    seed: int = 42
    token_scale: float | None = None
    policy: str = "fp32"
    remat: bool = False
    microbatches: int = 1
    log_every: int = 20
    eval_every: int = 500
    save_every: int = 250
    save_minutes: float = 5.0
    keep: int = 3
    held_out: Bucket = Bucket(views=8, height=112, width=154, batch=4)
    eval_scenes: int = 16
    max_skipped: int = 50
    notes: tuple[str, ...] = ()


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
