"""Stage 1 of ZipMap: from VGGT to ZipMap, on 23 static data sets.

    python train.py --config stage1_static --start.path VGGT_1B.pt --data.root DATA
    python train.py --config stage1_static --dry-run --devices 8

Starts from VGGT-1B. Fast weights and point head are new, with a learning rate of 1e-4; the rest has
1e-5. Poses are relative to the first view. 2 to 48 views of 168 to 518 by 518 pixels, 48 images per
microbatch; 80,000 steps, 28 million images in 8 microbatches. Result: weights in
runs/stage1_static, from which stage 2 starts; the PyTorch code needs a few seconds per step on a
node of 8 GPUs.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """Return the stage "stage1_static" of `zipmap_jax.train.config.stages`."""
    return stage("stage1_static")
