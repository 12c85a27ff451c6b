"""The GPU interpreter of Pallas, whose names and defaults differ between JAX 0.10 and 0.12."""

from __future__ import annotations

import dataclasses
from typing import Any

from jax._src.pallas.mosaic_gpu.interpret import interpret_pallas_call
from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams


def interpreter(*, detect_races: bool = False) -> Any:
    """Value of `interpret=` that runs a kernel on a CPU, with one simulated thread per warpgroup.

    Args:
      detect_races: whether accesses are checked for data races.

    Returns:
      Parameters of the interpreter.
    """
    names = {field.name for field in dataclasses.fields(InterpretGPUParams)}
    # JAX 0.12 raises at the first race by default.
    on_race: dict[str, Any] = {"on_race": "warn"} if "on_race" in names else {}
    return InterpretGPUParams(detect_races=detect_races, **on_race)


def races_found() -> bool:
    """Whether the last kernel that was interpreted with `detect_races` had a data race."""
    return interpret_pallas_call.get_races().races_found
