"""The embedded `tiny-query` model: `tiny` taught to render unseen views from its state.

    python train.py --config tiny_query --workdir runs/tiny_query

As the state-query run of ZipMap: four of eight views are zipped, the others rendered from their
rays, colour without LPIPS. Embedder, frame blocks and the trunk of the camera head stay as they
are, so that the weights that are shipped share them with `tiny`.
"""

from __future__ import annotations

import dataclasses

from zipmap_jax.losses import LossConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config import Bucket, StartConfig, TrainConfig
from zipmap_jax.train.named import load


def get_config() -> TrainConfig:
    """Configuration of the run."""
    offline = load("tiny_procedural")
    matrices = ("global_blocks/*kernel", "global_blocks/ttt/w?", "ray_embed/*kernel")
    return dataclasses.replace(
        offline,
        name="tiny_query",
        model=preset("tiny", "state_query"),
        start=StartConfig(kind="weights", path="tiny"),
        data=dataclasses.replace(
            offline.data,
            buckets=(Bucket(views=4, targets=4, height=112, width=154, batch=1),),
            jitter=None,
            shuffle_views=False,
        ),
        loss=LossConfig(camera_kind="absolute"),
        optim=dataclasses.replace(
            offline.optim,
            lr=5e-4,
            lr_groups=(("nvs_head/*", 2e-3), ("ray_*", 2e-3)),
            muon=matrices,
            frozen=("embedder/*", "frame_blocks/*", "camera_head/trunk/*"),
        ),
        ema=dataclasses.replace(offline.ema, decay=0.99, start=100),
        steps=800,
        notes=(
            "renders unseen views from their rays; an early checkpoint, trained on procedural "
            "scenes only: colours are washed out, depth is rough, and camera poses are no better "
            "than a camera that stands still; see card.json",
        ),
    )
