"""The embedded `tiny` model, trained from scratch on procedural scenes.

    python train.py --config tiny_procedural --workdir runs/tiny_procedural

Losses of stage 3 of ZipMap (pairwise, affine-invariant cameras) and of single patches, without
which poses hardly improve for very long, at a size for a laptop. The embedded weights are from two
runs, 44 minutes on one CPU core and 46 on two: cameras and patches alone at 56x56, then the
configuration below without `loss.rays` (see their card). They have AbsRel 0.28 and delta<1.25 0.61
(trivial method: 0.44 and 0.41), RRA@15 59 % (34), RTA@30 31 % (0) and AUC@30 7.3 (0) by
`python eval.py --checkpoint tiny --scenes 48`. Both parts in one run, as below, were only measured
for 50 steps, in which the loss falls from 16.4 (mean of 20 steps) to 13.5.
"""

from __future__ import annotations

from zipmap_jax.data.config import BatchShape, DataConfig, JitterConfig
from zipmap_jax.losses import LossConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config.schema import EmaConfig, OptimConfig, TrainConfig

MATRICES = (
    "embedder/blocks/*kernel",
    "embedder/patch_proj/kernel",
    "frame_blocks/*kernel",
    "global_blocks/*kernel",
    "global_blocks/ttt/w?",
    "camera_head/trunk/*kernel",
)


def get_config() -> TrainConfig:
    """Return the configuration of the run."""
    return TrainConfig(
        name="tiny_procedural",
        model=preset("tiny", "offline"),
        data=DataConfig(
            # Many small images first, then larger ones.
            buckets=(
                BatchShape(views=8, height=56, width=56, batch=4, end=0.5),
                BatchShape(views=8, height=112, width=154, batch=1, start=0.35),
                BatchShape(views=4, height=112, width=154, batch=2, start=0.5),
                BatchShape(views=6, height=154, width=154, batch=1, weight=0.4, start=0.65),
            ),
            jitter=JitterConfig(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, gamma=0.1),
        ),
        # The weight of rotations is larger than published: at 0.2, training from random weights
        # converges to equal poses for all views before the tokens distinguish them. The losses of
        # single patches shorten this phase further.
        loss=LossConfig(pose=(10.0, 1.0, 0.5), matching=12.0, rays=6.0),
        # From random weights, all gradients agree at first: the floor is near and the ceiling far.
        # With Adam, one direction has all the variance of the tokens after 500 steps; Muon's
        # updates have equal size in all directions.
        optim=OptimConfig(
            lr=1e-3,
            lr_floor=1e-6,
            lr_groups=tuple((pattern, 2e-3) for pattern in MATRICES),
            muon=MATRICES,
            warmup=0.05,
            b2=0.99,
            clip=1.0,
        ),
        ema=EmaConfig(decay=0.999, start=200),
        token_scale=0.02,
        steps=4000,
        notes=(
            "a small checkpoint, trained on procedural scenes only: depth and cameras are rough; "
            "see card.json",
        ),
    )
