"""`zipmap eval`: measurements, one subcommand each."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from tyro.conf import OmitSubcommandPrefixes, subcommand

from zipmap_jax.cli.eval_gpu_suite import EvalGpuSuite
from zipmap_jax.cli.eval_loader import EvalLoader
from zipmap_jax.cli.eval_memory import EvalMemory
from zipmap_jax.cli.eval_runtime import EvalRuntime

What = (
    Annotated[EvalLoader, subcommand("loader")]
    | Annotated[EvalRuntime, subcommand("runtime")]
    | Annotated[EvalMemory, subcommand("memory")]
    | Annotated[EvalGpuSuite, subcommand("gpu-suite")]
)


@dataclasses.dataclass(frozen=True)
class Eval:
    """Measure speed, memory and the data loader.

    Attributes:
      what: what to measure.
    """

    what: OmitSubcommandPrefixes[What]

    def __call__(self) -> int:
        return self.what()
