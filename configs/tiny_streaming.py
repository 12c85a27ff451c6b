"""`tiny` fine-tuned to zip one view after the other.

    python train.py --config tiny_streaming --workdir runs/tiny_streaming

As in the streaming runs of ZipMap, which start from an offline model: one fast-weight step per
view, a separate camera head per view, videos in order. Embedder, frame blocks and the MLPs of the
global blocks are frozen, so both models can share them (`zipmap convert --share-with`).

A step of one scene of 8 views took 1.2 s (56x56) to 2.4 s (112x154) on a CPU core with short loops
unrolled, the run 50 minutes. 48 held-out scenes of 8 views, by
`python eval.py --checkpoint tiny-streaming --scenes 48`: AbsRel 0.281 (trivial 0.436), RRA@15 55.0
(34.4), AUC@30 8.3 (0); see docs/results/tiny-streaming.md.
"""

from __future__ import annotations

import dataclasses

from zipmap_jax.data.config import BatchShape
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config.registry import load
from zipmap_jax.train.config.schema import EmaConfig, StartConfig, TrainConfig

MATRICES = ("global_blocks/ttt/*kernel", "global_blocks/ttt/w?")


def get_config() -> TrainConfig:
    """Return the configuration of the run."""
    offline = load("tiny_procedural")
    return dataclasses.replace(
        offline,
        name="tiny_streaming",
        model=preset("tiny", "streaming"),
        start=StartConfig(kind="weights", path="tiny"),
        data=dataclasses.replace(
            offline.data,
            # The Newton-Schulz step of a view has the same cost for any image size.
            buckets=(
                BatchShape(views=4, height=56, width=56, batch=2, end=0.35),
                BatchShape(views=8, height=56, width=56, batch=1, start=0.35, end=0.65),
                BatchShape(views=8, height=112, width=154, batch=1, start=0.65),
            ),
            shuffle_views=False,
        ),
        loss=dataclasses.replace(offline.loss, rays_frame="first"),
        optim=dataclasses.replace(
            offline.optim,
            lr=5e-4,
            lr_groups=(
                # Its input has no norm: larger steps push fields of view below zero, where the
                # gradient of the ReLU is zero.
                ("camera_mlp_head/*", 1e-4),
                ("depth_head/*", 3e-4),
                ("local_point_head/*", 3e-4),
                *((pattern, 1.5e-3) for pattern in MATRICES),
            ),
            muon=MATRICES,
            frozen=("embedder/*", "frame_blocks/*", "global_blocks/mlp/*"),
        ),
        ema=EmaConfig(decay=0.99, start=100),
        steps=2000,
        notes=("zips one view after the other; trained on procedural scenes only; see card.json",),
    )
