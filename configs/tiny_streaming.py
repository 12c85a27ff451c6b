"""`tiny` taught to zip one view after the other.

    python train.py --config tiny_streaming --workdir runs/tiny_streaming

As the streaming runs of ZipMap, from an offline model: one fast-weight step per view, a camera head
of its own that sees a view at a time, videos in their order. Embedder and frame blocks stay as they
are, so that both can share them (`zipmap convert --share-with`). A run for a GPU (with
`--batch-scale 8`); no weights of it are shipped yet. On a CPU core a step of one scene takes four
seconds: eight times Newton-Schulz in each layer, and its gradient.
"""

from __future__ import annotations

import dataclasses

from zipmap_jax.models.presets import preset
from zipmap_jax.train.config import Bucket, StartConfig, TrainConfig
from zipmap_jax.train.named import load


def get_config() -> TrainConfig:
    """Configuration of the run."""
    offline = load("tiny_procedural")
    matrices = ("global_blocks/ttt/*kernel", "global_blocks/ttt/w?", "camera_mlp_head/*kernel")
    return dataclasses.replace(
        offline,
        name="tiny_streaming",
        model=preset("tiny", "streaming"),
        start=StartConfig(kind="weights", path="tiny"),
        data=dataclasses.replace(
            offline.data,
            buckets=(Bucket(views=8, height=112, width=154, batch=1),),
            shuffle_views=False,
        ),
        loss=dataclasses.replace(offline.loss, matching=0.0, rays=0.0),
        optim=dataclasses.replace(
            offline.optim,
            lr=3e-4,
            lr_groups=(("camera_mlp_head/*", 1e-3),),
            muon=matrices,
            frozen=("embedder/*", "frame_blocks/*", "global_blocks/mlp/*"),
        ),
        ema=dataclasses.replace(offline.ema, decay=0.999, start=200),
        steps=10_000,
        notes=("zips one view after the other; trained on procedural scenes only; see card.json",),
    )
