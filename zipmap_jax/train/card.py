"""The card of weights that a run has made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zipmap_jax.convert.checkpoint import make_card
from zipmap_jax.eval.metrics.rendering import RENDERED
from zipmap_jax.eval.report import MEANING

if TYPE_CHECKING:
    from zipmap_jax.train.config.schema import TrainConfig


def run_card(
    config: TrainConfig,
    steps: int,
    weights: str,
    dtype: str,
    numbers: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """What the weights are, where they come from and what they are worth.

    Args:
      config: of the run.
      steps: made.
      weights: "ema" or "params".
      dtype: in which they are stored.
      numbers: held-out metrics of the stored weights by the name of the answer.
    """
    shape, meaning = config.held_out, MEANING | RENDERED
    return {
        **make_card(config.model, dtype=dtype, licence="Apache-2.0", notes=config.notes),
        "training": {
            "config": config.name,
            "data": _data_of(config),
            "steps": steps,
            "of_steps": config.steps,
            "seed": config.seed,
            "start": config.start.path or config.start.kind,
            "weights": weights,
        },
        "held_out": {
            "scenes": config.eval_scenes,
            "views": shape.views,
            "size": [shape.height, shape.width],
            "numbers": numbers,
            "meaning": {name: meaning[name] for name in numbers["model"]},
        },
    }


def _data_of(config: TrainConfig) -> str:
    """What a run has learned from, in a few words."""
    if config.data.engine == "device":
        return "procedural scenes of zipmap_jax.procedural"
    return ", ".join(source.name for source in config.data.mixture if source.weight > 0)
