"""`zipmap bench`: speed of data loading and models, memory of programs."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from tyro.conf import OmitSubcommandPrefixes, subcommand

from zipmap_jax.cli.bench_loader import BenchLoader
from zipmap_jax.cli.bench_memory import BenchMemory
from zipmap_jax.cli.bench_runtime import BenchRuntime

What = (
    Annotated[BenchLoader, subcommand("loader")]
    | Annotated[BenchRuntime, subcommand("runtime")]
    | Annotated[BenchMemory, subcommand("memory")]
)


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure speed, memory and the data loader.

    Attributes:
      what: quantity to measure.
    """

    what: OmitSubcommandPrefixes[What]

    def __call__(self) -> int:
        return self.what()
