"""Mixtures of the published training stages.

Mixing weights are no sizes: a data set is drawn with probability `weight / sum of weights`, and an
epoch is no more than a number of steps.
"""

from __future__ import annotations

from typing import get_args

from zipmap_jax.data.config import SourceConfig
from zipmap_jax.data.datasets.table import DATA_SETS, DataSet, Stage
from zipmap_jax.errors import UserError

STAGES: tuple[Stage, ...] = get_args(Stage)


def mixture(stage: Stage) -> tuple[SourceConfig, ...]:
    """Return the data sets of a stage, with the stage's settings of their samplers.

    Raises:
      UserError: the stage is unknown.
    """
    if stage not in STAGES:
        raise UserError(f"unknown mixture {stage!r}: choose one of {', '.join(STAGES)}")
    return tuple(_source(row, stage) for row in DATA_SETS.values() if row.weights.get(stage))


def _source(row: DataSet, stage: Stage) -> SourceConfig:
    always_video = stage in ("online", "query") and row.always_video
    return SourceConfig(
        row.name,
        float(row.weights[stage]),
        video_prob=1.0 if always_video else None,
        max_interval=row.query_interval if stage == "query" else None,
    )
