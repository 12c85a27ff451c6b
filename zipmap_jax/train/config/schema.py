"""Configuration of a training run: frozen dataclasses that every checkpoint holds as JSON."""

from __future__ import annotations

import dataclasses
from typing import Literal

from zipmap_jax.data.config import BatchShape, DataConfig
from zipmap_jax.errors import UserError, require_at_least
from zipmap_jax.losses import LossConfig
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.nn.config import POLICIES


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
class MeshConfig:
    """How devices are arranged.

    Attributes:
      data: copies of the model, each working on microbatches of its own; 0 = as many as devices
        allow.
      fsdp: devices among which parameters, moments and moving average are split; they work on
        different microbatches, too.
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
    """What a run reports, and how often.

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
      policy: number formats, a name in `zipmap_jax.nn.config.POLICIES`.
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
    held_out: BatchShape = BatchShape(views=8, height=112, width=154, batch=4)
    eval_scenes: int = 16
    max_skipped: int = 50
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        least = dict(steps=1, seed=0, keep=1, keep_every=0, eval_scenes=1, max_skipped=1, chunk=0)
        require_at_least(self, f"the run {self.name}", **least)
        require_at_least(self.data, "data", microbatches=1, workers=0, threads=1, retries=0)
        if self.policy not in POLICIES:
            known = " or ".join(POLICIES)
            raise UserError(f"policy must be {known}, got {self.policy!r}: choose one of these")
        for bucket in (*self.data.buckets, self.held_out):
            if bucket.height % self.model.patch or bucket.width % self.model.patch:
                raise UserError(
                    f"images of {bucket.height}x{bucket.width} do not fit the model: height and "
                    f"width of data.buckets and held_out must be multiples of {self.model.patch}"
                )
