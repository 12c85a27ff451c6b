"""First online run of ZipMap: one fast-weight step per view, 12 views.

    python train.py --config streaming_12 --data.root DATA
    python train.py --config streaming_12 --dry-run --devices 8

Starts from runs/stage3_affine. The camera head is an MLP for each view, new, learning at 1e-4 and
clipped at 2; all the rest at 1e-5. Views come as videos, 3 scenes of 12 in a microbatch; 60,000
steps, 17 million images in 8 microbatches. Expect weights that streaming_24 starts from.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """The row "streaming_12" of `zipmap_jax.train.config.stages`."""
    return stage("streaming_12")
