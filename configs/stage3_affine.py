"""Stage 3 of ZipMap: without a reference view.

    python train.py --config stage3_affine --data.root DATA
    python train.py --config stage3_affine --dry-run --devices 8

Starts from runs/stage2_dynamic. Every view has the same special tokens and poses are compared
pairwise, so the order of the views has no effect; dynamic data sets have half the weight.
60,000 steps at 1e-5, 21 million images in 8 microbatches. Result: the model `offline`.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """Return the stage "stage3_affine" of `zipmap_jax.train.config.stages`."""
    return stage("stage3_affine")
