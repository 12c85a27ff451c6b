"""`zipmap eval gpu-suite`: every measurement that wants a GPU, in a few minutes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from zipmap_jax.cli.numbers import parse_size, parse_views


@dataclasses.dataclass(frozen=True)
class EvalGpuSuite:
    """Goldens, attention, kernels, runtime, reconstruction and training on this machine's GPU.

    Each item has a process and a time limit of its own and writes as it goes, so that whatever
    ends early loses nothing; the same command goes on where an earlier one stopped. Without all
    dependencies: python -m zipmap_jax.cli.gpu_suite.

    Attributes:
      out: folder to write or to go on with.
      minutes: for everything.
      preset: of runtime and reconstruction: large, small or tiny.
      size: of their images, HEIGHTxWIDTH.
      views: of the runtime, in this order; the reconstruction takes some of them.
      golden: folder of recorded arrays.
      items: of machine,attention,kernels,goldens,runtime,reconstruction,training.
    """

    out: Annotated[Path, arg(aliases=("-o",), metavar="DIR", help_behavior_hint="(required)")]
    minutes: float = 9.0
    preset: str = "large"
    size: str = "392x518"
    views: str = "5,50,200,750,1500,3000,5000,10,25,100,300,400,500"
    golden: Path = Path("tests/golden")
    items: str = "machine,attention,kernels,goldens,runtime,reconstruction,training"

    def __call__(self) -> int:
        from zipmap_jax.bench.suite import SuiteConfig
        from zipmap_jax.cli.gpu_suite import run

        return run(
            SuiteConfig(
                self.out,
                self.minutes,
                self.preset,
                parse_size(self.size),
                parse_views(self.views),
                self.golden,
                tuple(self.items.split(",")),
            )
        )
