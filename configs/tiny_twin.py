"""The quadratic twin of `tiny`: attention among all views in place of the fast weights.

    python train.py --config tiny_twin --workdir runs/tiny_twin

For comparison with tiny_procedural: the same data, losses, optimiser and steps. The MLPs of frame
and global blocks are 6 instead of 4 times as wide as the stream, which makes up for what the
fast-weight layers hold more than attention: 4.27 M parameters, against 4.20 M. Trained as the
embedded weights were, it is ahead of them: AbsRel 0.258 (0.282), RRA@15 64 % (59), RTA@30 40 % (31)
and AUC@30 13.0 (7.3); see docs/results/tiny-twin.md. Its weights are not shipped.
"""

from __future__ import annotations

import dataclasses

from zipmap_jax.train.config.registry import load
from zipmap_jax.train.config.schema import TrainConfig

FAST_WEIGHTS = "global_blocks/ttt/w?"


def get_config() -> TrainConfig:
    """Configuration of the run."""
    ours = load("tiny_procedural")
    optim = ours.optim
    return dataclasses.replace(
        ours,
        name="tiny_twin",
        model=dataclasses.replace(ours.model, preset="tiny_twin", mixer="attention", mlp_ratio=6),
        # Kernels of the attention fall under "global_blocks/*kernel", as those of `ttt` do.
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
