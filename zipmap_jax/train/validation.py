"""Held-out numbers of the parameters and of their moving average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zipmap_jax.train.loop import Evaluate
    from zipmap_jax.train.state import TrainState


def both_weights(evaluate: Callable[[Any], Mapping[str, Mapping[str, float]]]) -> Evaluate:
    """Evaluates a state twice: answers "ema", which is the main one, "raw" and "trivial".

    Args:
      evaluate: from parameters to metrics under "model" and under "trivial".
    """

    def numbers(state: TrainState) -> Mapping[str, Mapping[str, float]]:
        ema, raw = evaluate(state.ema), evaluate(state.params)
        return {"ema": ema["model"], "raw": raw["model"], "trivial": ema["trivial"]}

    return numbers
