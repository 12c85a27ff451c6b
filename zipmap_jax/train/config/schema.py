"""Configuration of a training run, stored with every checkpoint as JSON."""

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
    """AdamW or Muon with warm-up, cosine decay and gradient clipping.

    Attributes:
      lr: peak learning rate of parameters that match no group.
      lr_groups: (shell pattern of parameter paths "a/b/c", peak learning rate); first match wins.
      lr_floor: learning rate at the first step and at the end.
      warmup: share of the run with increasing learning rate.
      muon: patterns of matrices updated by Muon instead of Adam, at the same learning rate.
      undecayed: patterns of parameters without weight decay, besides biases and vectors.
      frozen: patterns of parameters that stay constant.
      clip: maximum L2 norm of a gradient; 0 = no clipping.
      clip_modules: (module, norm) of modules with another maximum; needs `clip_by="module"`.
      clip_by: one norm for all gradients ("global"), or one per head and one for the rest.
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
    """Moving average of the parameters, which equals them up to step `start`."""

    decay: float = 0.999
    start: int = 200
    interval: int = 1

    def __post_init__(self) -> None:
        require_at_least(self, "the moving average", interval=1)


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Number of devices along each mesh axis.

    Attributes:
      data: copies of the model, each with its own microbatches; 0 = all remaining devices.
      fsdp: devices that share parameters, moments and moving average, with different microbatches.
      views: devices that share the views of a scene.
    """

    data: int = 0
    fsdp: int = 1
    views: int = 1


@dataclasses.dataclass(frozen=True)
class StartConfig:
    """Initial parameters of a new run.

    Attributes:
      kind: "random"; "vggt" for a released VGGT-1B checkpoint; "weights" for a model folder, a
        torch checkpoint of ZipMap, or the work directory of an earlier run.
      path: file or folder.
      weights: parameters of an earlier run; the recipe uses the raw ones.
      like: (module without weights, module whose tensors of equal name and shape are copied), with
        kind "weights".
    """

    kind: Literal["random", "vggt", "weights"] = "random"
    path: str = ""
    weights: Literal["params", "ema"] = "params"
    like: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """Metrics, pictures and traces of a run.

    Attributes:
      every: steps between two lines.
      writers: "console" and "json"; "tensorboard" and "wandb" need the packages of these names.
      pictures_every: steps between two pictures (input, depth, error, points); 0 = none.
      profile_at: first step of a trace of `profile_steps` steps; 0 = no trace.
    """

    every: int = 20
    writers: tuple[str, ...] = ("console", "json")
    pictures_every: int = 200
    profile_at: int = 0
    profile_steps: int = 5


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
      steps: length of the run; the schedule spans it.
      start: initial parameters.
      mesh: arrangement of the devices.
      token_scale: initial standard deviation of the special tokens; None = the published 1e-6.
      policy: number formats, a name in `zipmap_jax.nn.config.POLICIES`.
      remat: recompute blocks in the backward pass instead of storing their activations.
      chunk: views of a scene that a device processes at once, and images in the dense heads;
        bounds memory without changing results; 0 = all.
      compile_ahead: compile every bucket's program before the first step.
      eval_every: steps between two evaluations; the last step is evaluated too; 0 = never.
      save_every: steps between two checkpoints; the last step is saved too; 0 = only the last.
      save_minutes: maximum minutes between two checkpoints; ignored with several processes.
      keep: number of newest checkpoints to keep.
      keep_every: checkpoints at multiples of this many steps are kept for good; 0 = none.
      held_out: shape of the held-out scenes, which are always procedural.
      eval_scenes: number of scenes of a regular evaluation.
      notes: remarks for users of the trained weights, copied to the exported card.
      max_skipped: consecutive non-finite steps after which the run ends.
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
        bounds = dict(steps=1, seed=0, keep=1, keep_every=0, eval_scenes=1, max_skipped=1, chunk=0)
        require_at_least(self, f"the run {self.name}", **bounds)
        require_at_least(self.data, "data", microbatches=1, workers=0, threads=1, retries=0)
        if self.policy not in POLICIES:
            known = " or ".join(POLICIES)
            raise UserError(f"policy must be {known}, got {self.policy!r}: choose one of them")
        for bucket in (*self.data.buckets, self.held_out):
            if bucket.height % self.model.patch or bucket.width % self.model.patch:
                raise UserError(
                    f"images of {bucket.height}x{bucket.width} do not fit the model: height and "
                    f"width of data.buckets and held_out must be multiples of {self.model.patch}"
                )
