"""`tiny` fine-tuned to render unseen views from its state.

    python train.py --config tiny_query --workdir runs/tiny_query

As in the state-query run of ZipMap, four of eight views are zipped and the others rendered from
their rays, with colour but without LPIPS. Embedder, frame blocks except their attention, the trunk
of the camera head and two dense heads are frozen, so both models can share them (`zipmap convert
--share-with`). The attention of the frame blocks is trained because only it marks the patches of
the first view, whose frame is the world's.

The embedded `tiny-query` is from three runs on a CPU core, 2,640 steps in total: cameras and
patches alone, four scenes of 56x56 per step; one scene of 112x154 with the configuration below;
both sizes with colour at 120. It renders 48 held-out scenes at 17.4 dB (mean colour of the zipped
views: 15.8) and AbsRel 0.30 (0.42), by `python eval.py --checkpoint tiny-query --scenes 48`; see
docs/results/tiny-query.md. The run below, for a GPU (with `--batch-scale 8`), was not measured.
"""

from __future__ import annotations

import dataclasses

from zipmap_jax.data.config import BatchShape
from zipmap_jax.losses import LossConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config.registry import load
from zipmap_jax.train.config.schema import StartConfig, TrainConfig

MATRICES = (
    "frame_blocks/attn/*kernel",
    "global_blocks/*kernel",
    "global_blocks/ttt/w?",
    "ray_embed/*kernel",
)


def get_config() -> TrainConfig:
    """Return the configuration of the run."""
    offline = load("tiny_procedural")
    return dataclasses.replace(
        offline,
        name="tiny_query",
        model=preset("tiny", "state_query"),
        start=StartConfig(kind="weights", path="tiny", like=(("nvs_head", "depth_head"),)),
        data=dataclasses.replace(
            offline.data,
            buckets=(
                BatchShape(views=4, targets=4, height=56, width=56, batch=4, end=0.6),
                BatchShape(views=4, targets=4, height=112, width=154, batch=1, start=0.6),
            ),
            jitter=None,
            shuffle_views=False,
        ),
        loss=LossConfig(
            camera_kind="absolute",
            colour=60.0,
            matching=6.0,
            rays=2.0,
            rays_frame="first",
            views=4.0,
        ),
        optim=dataclasses.replace(
            offline.optim,
            lr=5e-4,
            lr_groups=(
                ("nvs_head/*", 2e-3),
                ("*probe/*", 3e-4),
                *((pattern, 1e-3) for pattern in MATRICES),
            ),
            muon=MATRICES,
            frozen=(
                "embedder/*",
                "frame_blocks/ls?/*",
                "frame_blocks/mlp/*",
                "frame_blocks/norm?/*",
                "camera_head/trunk/*",
                "depth_head/*",
                "local_point_head/*",
            ),
        ),
        ema=dataclasses.replace(offline.ema, decay=0.999, start=200),
        steps=20_000,
        notes=("renders unseen views; trained on procedural scenes only; see card.json",),
    )
