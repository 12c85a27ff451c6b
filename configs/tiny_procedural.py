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
            # Small square images first; the other shapes once the geometry has been grasped.
            buckets=(
                Bucket(views=2, height=112, width=112, batch=4, weight=1.0),
                Bucket(views=4, height=112, width=112, batch=2, weight=2.0),
                Bucket(views=8, height=112, width=112, batch=1, weight=1.5),
                Bucket(views=4, height=112, width=154, batch=2, weight=2.0, start=0.5),
                Bucket(views=8, height=112, width=154, batch=1, weight=2.0, start=0.5),
                Bucket(views=4, height=154, width=112, batch=2, weight=1.0, start=0.5),
                Bucket(views=4, height=168, width=224, batch=1, weight=1.5, start=0.8),
            ),
            jitter=JitterConfig(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03, gamma=0.2),
        ),
        loss=LossConfig(),
        optim=OptimConfig(lr=7e-4, lr_floor=1e-6, warmup=0.08, b2=0.99, clip=1.0),
        ema=EmaConfig(decay=0.999, start=200),
        token_scale=0.02,
        steps=6000,
        notes=("trained on procedural scenes only: see card.json for what it cannot do",),
    )
