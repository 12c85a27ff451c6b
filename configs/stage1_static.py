"""Stage 1 of ZipMap: VGGT becomes ZipMap, on 23 static data sets.

    python train.py --config stage1_static --start.path VGGT_1B.pt --data.root DATA
    python train.py --config stage1_static --dry-run --devices 8

Starts from VGGT-1B. Fast weights and point head are new and learn at 1e-4, all the rest at 1e-5.
Poses are compared with the first view's. 2 to 48 views, 168 to 518 pixels high and 518 wide, 48
images per microbatch; 80,000 steps, 28 million images in 8 microbatches. Expect weights in
runs/stage1_static that stage 2 starts from; the PyTorch code needs a few seconds a step on one node
of 8 GPUs.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """The row "stage1_static" of `zipmap_jax.train.config.stages`."""
    return stage("stage1_static")
