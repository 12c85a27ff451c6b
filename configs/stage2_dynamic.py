"""Stage 2 of ZipMap: with six dynamic data sets, 29 in total.

    python train.py --config stage2_dynamic --data.root DATA
    python train.py --config stage2_dynamic --dry-run --devices 8

Starts from runs/stage1_static (raw weights, not their average; change it with --start.path).
Differs from stage 1 in the data, one learning rate of 1e-5 and 40,000 steps, 14 million images in 8
microbatches. Result: the model `ref_view`, whose reference is the first view.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """Return the stage "stage2_dynamic" of `zipmap_jax.train.config.stages`."""
    return stage("stage2_dynamic")
