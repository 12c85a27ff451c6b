"""First online run of ZipMap: one fast-weight step per view, 12 views.

    python train.py --config streaming_12 --data.root DATA
    python train.py --config streaming_12 --dry-run --devices 8

Starts from runs/stage3_affine. The new camera head, an MLP per view, has a learning rate of 1e-4
and a clipping norm of 2; the rest has 1e-5. Views are in video order, 3 scenes of 12 per
microbatch; 60,000 steps, 17 million images in 8 microbatches. Result: the start of streaming_24.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """Return the stage "streaming_12" of `zipmap_jax.train.config.stages`."""
    return stage("streaming_12")
