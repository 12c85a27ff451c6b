"""`tiny` with quadratic attention among all views in place of the fast weights.

    python train.py --config tiny_twin --workdir runs/tiny_twin

For comparison with tiny_procedural: the same data, losses, optimiser and steps. The MLPs of frame
and global blocks are 6 instead of 4 times as wide as the stream, to compensate for the parameters
of the fast weights: 4.27 M parameters, against 4.20 M. Trained like the embedded weights, it is
more accurate: AbsRel 0.258 (0.282), RRA@15 64 % (59), RTA@30 40 % (31) and AUC@30 13.0 (7.3); see
docs/results/tiny-twin.md. Its weights are not part of the package.
"""

from __future__ import annotations

import dataclasses

from zipmap_jax.train.config.registry import load
from zipmap_jax.train.config.schema import TrainConfig

FAST_WEIGHTS = "global_blocks/ttt/w?"


def get_config() -> TrainConfig:
    """Return the configuration of the run."""
    tiny = load("tiny_procedural")
    optim = tiny.optim
    return dataclasses.replace(
        tiny,
        name="tiny_twin",
        model=dataclasses.replace(tiny.model, preset="tiny_twin", mixer="attention", mlp_ratio=6),
        # The pattern "global_blocks/*kernel" matches the kernels of the attention as well.
        optim=dataclasses.replace(
            optim,
            lr_groups=tuple(group for group in optim.lr_groups if group[0] != FAST_WEIGHTS),
            muon=tuple(pattern for pattern in optim.muon if pattern != FAST_WEIGHTS),
        ),
        notes=(
            "attention among all views instead of fast weights, in quadratic time: for comparison "
            "with tiny, trained on procedural scenes only",
        ),
    )
