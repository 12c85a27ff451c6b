"""Stage 2 of ZipMap: six dynamic data sets join, 29 in all.

    python train.py --config stage2_dynamic --data.root DATA
    python train.py --config stage2_dynamic --dry-run --devices 8

Starts from runs/stage1_static (raw weights, not their average; change it with --start.path), and
is stage 1 with other data, one learning rate, 1e-5, for everything, and 40,000 steps, 14 million
images in 8 microbatches. Expect the model called `ref_view`: the first view is the reference.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """The row "stage2_dynamic" of `zipmap_jax.train.config.stages`."""
    return stage("stage2_dynamic")
