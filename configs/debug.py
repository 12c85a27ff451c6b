"""Stage 1 of ZipMap on two small data sets and one device.

    python train.py --config debug --start.path VGGT_1B.pt --data.root DATA
    python train.py --config debug --start.kind random --data.engine device --steps 20

Starts from VGGT-1B and reads MVS-Synth and Virtual KITTI, 24 images per step: enough to see a whole
run work. The second command needs neither weights nor data. Expect nothing from its weights.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """The row "debug" of `zipmap_jax.train.config.stages`."""
    return stage("debug")
