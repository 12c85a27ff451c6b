"""Second online run of ZipMap: one fast-weight step per view, 24 views.

    python train.py --config streaming_24 --data.root DATA
    python train.py --config streaming_24 --dry-run --devices 8

Starts from runs/streaming_12 with a learning rate of 1e-5; 2 scenes of 24 views per microbatch;
30,000 steps, 12 million images in 8 microbatches. Result: the model `streaming`.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """Return the stage "streaming_24" of `zipmap_jax.train.config.stages`."""
    return stage("streaming_24")
