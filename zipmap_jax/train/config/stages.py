"""The training runs of ZipMap; `configs/` has a file for each, with command and result.

    VGGT-1B -> stage1_static -> stage2_dynamic -> stage3_affine -> streaming_12 -> streaming_24
                                      `-> state_query

Source: ZipMap, released training configurations.
"""

from __future__ import annotations

import dataclasses

from zipmap_jax.data.config import BatchShape, DataConfig, JitterConfig
from zipmap_jax.data.datasets.mixtures import mixture
from zipmap_jax.data.datasets.table import Stage as Mixture
from zipmap_jax.errors import UserError
from zipmap_jax.losses import LossConfig
from zipmap_jax.models.config import Variant
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config.batch_shapes import WIDTH, recipe_buckets
from zipmap_jax.train.config.schema import (
    EmaConfig,
    LogConfig,
    MeshConfig,
    OptimConfig,
    StartConfig,
    TrainConfig,
)

NODE = 8
"""Devices of a node. The recipe does not state its number of GPUs; its commands show one node."""
VGGT = "weights/vggt_1b.pt"
FAST, NEW_CAMERA = ("global_blocks/ttt/*", "local_point_head/*"), ("camera_mlp_head/*",)


@dataclasses.dataclass(frozen=True)
class TrainingStage:
    """Settings that differ between the runs of the recipe.

    Attributes:
      about: short description.
      start: run that provides the initial raw weights; "" = VGGT-1B.
      variant: of the model.
      mixture: stage in the table of data sets.
      epochs, epoch_steps: their product is the length of the run.
      images: budget of a microbatch.
      views: minimum and maximum number of views of a scene.
      absolute: whether poses are relative to the first view instead of pairwise.
      lr: peak learning rate.
      fresh: patterns of randomly initialised parameters, with ten times the rate.
      min_views: minimum number of frames of a sequence.
      ema_start: step at which the moving average starts.
      jitter: whether colours are augmented.
      prefetch: batches kept ready.
      microbatches: parts of a batch, distributed over the devices of a node.
    """

    about: str
    start: str
    variant: Variant
    mixture: Mixture
    epochs: int
    images: int = 48
    views: tuple[int, int] = (2, 48)
    epoch_steps: int = 1000
    absolute: bool = True
    lr: float = 1e-5
    fresh: tuple[str, ...] = ()
    min_views: int = 24
    ema_start: int = 200
    jitter: bool = True
    prefetch: int = 4
    microbatches: int = NODE


STAGES: dict[str, TrainingStage] = {
    "stage1_static": TrainingStage(
        "from VGGT to ZipMap, on 23 static data sets", "", "ref_view", "static", 80, fresh=FAST
    ),
    "stage2_dynamic": TrainingStage(
        "with six dynamic data sets", "stage1_static", "ref_view", "dynamic", 40
    ),
    "stage3_affine": TrainingStage(
        "without reference view, pairwise camera loss",
        "stage2_dynamic",
        "offline",
        "affine",
        60,
        absolute=False,
        prefetch=3,
    ),
    "streaming_12": TrainingStage(
        "one fast-weight step per view, 12 views",
        "stage3_affine",
        "streaming",
        "online",
        60,
        36,
        (12, 12),
        absolute=False,
        fresh=NEW_CAMERA,
        min_views=12,
        prefetch=2,
    ),
    "streaming_24": TrainingStage(
        "one fast-weight step per view, 24 views",
        "streaming_12",
        "streaming",
        "online",
        50,
        48,
        (24, 24),
        epoch_steps=600,
        absolute=False,
        prefetch=2,
    ),
    "state_query": TrainingStage(
        "render unseen views from the state",
        "stage2_dynamic",
        "state_query",
        "query",
        100,
        44,
        (5, 44),
        lr=1e-4,
        ema_start=3000,
        jitter=False,
        prefetch=3,
    ),
    "debug": TrainingStage(
        "stage 1 on two small data sets and one device",
        "",
        "ref_view",
        "debug",
        80,
        24,
        (2, 24),
        fresh=FAST,
        microbatches=1,
    ),
}


def stage(name: str) -> TrainConfig:
    """Return the configuration of a run of the recipe.

    Raises:
      UserError: the name is unknown.
    """
    if name not in STAGES:
        raise UserError(f"unknown stage {name!r}: choose one of {', '.join(STAGES)}")
    row = STAGES[name]
    return TrainConfig(
        name=name,
        model=preset("large", row.variant),
        data=_data(row),
        loss=LossConfig(camera_kind="absolute" if row.absolute else "pairwise"),
        optim=OptimConfig(
            lr=row.lr,
            lr_groups=tuple((pattern, 10 * row.lr) for pattern in row.fresh),
            clip_modules=(("camera_mlp_head", 2.0),) if row.variant == "streaming" else (),
        ),
        ema=EmaConfig(decay=0.999, start=row.ema_start),
        start=_start(row),
        mesh=MeshConfig(fsdp=row.microbatches),
        log=LogConfig(every=20, pictures_every=200),
        steps=row.epochs * row.epoch_steps,
        policy="bf16",
        remat=True,
        chunk=8,
        compile_ahead=row.microbatches == NODE,
        # The recipe validates and keeps a checkpoint every five epochs.
        eval_every=5 * row.epoch_steps,
        keep_every=5 * row.epoch_steps,
        save_every=500,
        save_minutes=30.0,
        held_out=BatchShape(views=min(24, row.views[1]), height=WIDTH, width=WIDTH),
    )


def _data(row: TrainingStage) -> DataConfig:
    return DataConfig(
        buckets=recipe_buckets(row.views, row.images, targets=row.variant == "state_query"),
        microbatches=row.microbatches,
        engine="loader",
        mixture=mixture(row.mixture),
        jitter=JitterConfig() if row.jitter else None,
        min_views=row.min_views,
        # The recipe has 12 reading processes per GPU; here a process reads with several threads.
        workers=12,
        threads=row.microbatches,
        prefetch=row.prefetch,
    )


def _start(row: TrainingStage) -> StartConfig:
    if not row.start:
        return StartConfig("vggt", VGGT)
    return StartConfig("weights", f"runs/{row.start}")
