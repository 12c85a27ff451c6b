"""Stage 3 of ZipMap: no view is the reference any more.

    python train.py --config stage3_affine --data.root DATA
    python train.py --config stage3_affine --dry-run --devices 8

Starts from runs/stage2_dynamic. Every view gets the same special tokens and poses are compared
pairwise, so that any order of the views is as good as any other; dynamic data sets count half.
60,000 steps at 1e-5, 21 million images in 8 microbatches. Expect the model called `offline`.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """The row "stage3_affine" of `zipmap_jax.train.config.stages`."""
    return stage("stage3_affine")
