"""ZipMap that renders unseen views from its state.

    python train.py --config state_query --data.root DATA
    python train.py --config state_query --dry-run --devices 8

Starts from runs/stage2_dynamic with a learning rate of 1e-4. About half of 5 to 44 views are
zipped, the others are rendered from their rays; colour has weight 10 and their depth 1, in addition
to the losses of stage 2. 14 data sets with slower videos, no colour augmentation, moving average
from step 3,000; 100,000 steps, 28 million images in 8 microbatches. Result: the model
`state_query`.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """Return the stage "state_query" of `zipmap_jax.train.config.stages`."""
    return stage("state_query")
