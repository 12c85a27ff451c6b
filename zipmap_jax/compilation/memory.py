"""Device memory of compiled programs, as planned by the compiler."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class ProgramMemory:
    """Device memory of a compiled program in bytes.

    Attributes:
      arguments: parameters, state and images.
      outputs: results, without those that reuse the memory of an argument.
      temporaries: intermediate results, one block for the duration of the program.
      total: sum of the three.
    """

    arguments: int
    outputs: int
    temporaries: int
    total: int


def program_memory(compiled: Any) -> ProgramMemory:
    """Device memory of a compiled program.

    Args:
      compiled: a `jax.stages.Compiled`.

    Returns:
      Bytes by part.
    """
    stats = compiled.memory_analysis()
    outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
    arguments, temporaries = stats.argument_size_in_bytes, stats.temp_size_in_bytes
    return ProgramMemory(arguments, outputs, temporaries, arguments + outputs + temporaries)
