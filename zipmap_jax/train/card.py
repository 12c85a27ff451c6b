"""The card of the weights that a run exports."""

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
    """Describe the model, training and held-out metrics of exported weights.

    Args:
      config: of the run.
      steps: number of completed steps.
      weights: "ema" or "params".
      dtype: number format of the stored weights.
      numbers: held-out metrics of the stored weights by method.

    Returns:
      The card, for JSON.
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
    """A short description of the training data."""
    if config.data.engine == "device":
        return "procedural scenes of zipmap_jax.procedural"
    return ", ".join(source.name for source in config.data.mixture if source.weight > 0)
