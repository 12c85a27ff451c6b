"""The embedded `tiny` model, trained from scratch on procedural scenes.

    python train.py --config configs/tiny_procedural.py --workdir runs/tiny_procedural

Shapes, losses and schedule of stage 3 of ZipMap (pairwise, affine-invariant cameras) at a size that
a laptop can train.
"""

from __future__ import annotations

from zipmap_jax.losses import LossConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config import (
    Bucket,
    DataConfig,
    EmaConfig,
    JitterConfig,
    OptimConfig,
    TrainConfig,
)


def get_config() -> TrainConfig:
    """Configuration of the run."""
    return TrainConfig(
        name="tiny_procedural",
        model=preset("tiny", "offline"),
        data=DataConfig(
            # Many small pictures first; larger ones once the geometry has been grasped.
            buckets=(
                Bucket(views=8, height=56, width=56, batch=4, end=0.55),
                Bucket(views=8, height=112, width=154, batch=1, start=0.4),
                Bucket(views=4, height=112, width=154, batch=2, start=0.55),
                Bucket(views=6, height=154, width=154, batch=1, weight=0.4, start=0.7),
            ),
            jitter=JitterConfig(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03, gamma=0.2),
        ),
        # Rotations weigh more than published: at 0.2 a start from random weights settles on no
        # motion, the same pose for every view, before the tokens can tell views apart.
        loss=LossConfig(pose=(10.0, 1.0, 0.5)),
        optim=OptimConfig(lr=1e-3, lr_floor=1e-6, warmup=0.05, b2=0.99, clip=1.0),
        ema=EmaConfig(decay=0.999, start=200),
        token_scale=0.02,
        steps=3300,
        notes=("trained on procedural scenes only: see card.json for what it cannot do",),
    )
