"""`tiny` taught to render unseen views from its state.

    python train.py --config tiny_query --workdir runs/tiny_query

As the state-query run of ZipMap: four of eight views are zipped, the others rendered from their
rays, colour without LPIPS. Embedder, frame blocks, the trunk of the camera head and the head of
local points stay as they are, so that both can share them (`zipmap convert --share-with`). A
run for a GPU (with `--batch-scale 8`); no weights of it are shipped yet. Too few were 800 steps of
one scene, half an hour on two CPU cores: 15.2 dB on 16 held-out scenes, where the mean colour of
the zipped views has 15.4; and 700 steps that began with four scenes at 56x56 and had
`--loss.matching 4`: rendered depth got better, colour stayed at the mean.
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
            frozen=(
                "embedder/*",
                "frame_blocks/*",
                "camera_head/trunk/*",
                "local_point_head/*",
            ),
        ),
        ema=dataclasses.replace(offline.ema, decay=0.999, start=200),
        steps=20_000,
        notes=("renders unseen views; trained on procedural scenes only; see card.json",),
    )
