"""Bytes of a compiled program, as its compiler planned them."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class ProgramMemory:
    """What a compiled program occupies on the device.

    Attributes:
      arguments: parameters, state and images.
      outputs: results, without what takes the place of an argument.
      temporaries: everything between.
      total: the three together: temporaries are one block, which is held while the program runs.
    """

    arguments: int
    outputs: int
    temporaries: int
    total: int


def program_memory(compiled: Any) -> ProgramMemory:
    """Bytes of a `jax.stages.Compiled`."""
    stats = compiled.memory_analysis()
    outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
    arguments, temporaries = stats.argument_size_in_bytes, stats.temp_size_in_bytes
    return ProgramMemory(arguments, outputs, temporaries, arguments + outputs + temporaries)
