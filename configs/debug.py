"""Stage 1 of ZipMap on two small data sets and one device.

    python train.py --config debug --start.path VGGT_1B.pt --data.root DATA
    python train.py --config debug --start.kind random --data.engine device --steps 20

Starts from VGGT-1B and reads MVS-Synth and Virtual KITTI, 24 images per step, to test a complete
run. The second command needs neither weights nor data. Result: weights without use.
"""

from __future__ import annotations

from zipmap_jax.train.config.schema import TrainConfig
from zipmap_jax.train.config.stages import stage


def get_config() -> TrainConfig:
    """Return the stage "debug" of `zipmap_jax.train.config.stages`."""
    return stage("debug")
