"""`zipmap bench runtime`: seconds, memory and TFLOP/s against the number of views."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from zipmap_jax.cli.loading import Precision
from zipmap_jax.cli.numbers import parse_size, parse_views
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.bench.runtime import RuntimeRow
    from zipmap_jax.bench.series import Result, RuntimeConfig


@dataclasses.dataclass(frozen=True)
class BenchRuntime:
    """Time a forward call against the number of views, with random weights and images.

    Median and range of the calls that follow two to warm up; compilation apart; memory; FLOPs
    counted in the program, and their rate beside that of a plain matrix product. What does not fit
    becomes a line that says so.

    Attributes:
      preset: large, small or tiny.
      views: numbers of views, such as 5,10,25.
      size: of the images, HEIGHTxWIDTH.
      heads: which heads are on, of camera,depth,points.
      mixer: of the global blocks: fast_weights, attention, or both with a comma.
      streaming: also one frame of the streaming model.
      query: also one view read from the state of the state-query model.
      dtype: number format; auto is fp32 on the CPU and bf16 elsewhere.
      chunk: views worked on at once.
      repeats: calls that count.
      row_seconds: no further call of a row starts after so long.
      torch: MODULE:FACTORY of a PyTorch model to time beside ours; it is called with images
        [1, views, 3, height, width].
      out: folder for runtime.json, .md and .svg, written after every row.
      json: print one JSON object instead of the tables.
    """

    preset: str = "large"
    views: str = "5,10,25,50,100,200,300,400,500,750"
    size: str = "392x518"
    heads: str = "camera,depth"
    mixer: str = "fast_weights"
    streaming: bool = False
    query: bool = False
    dtype: Precision = "auto"
    chunk: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: even chunks of at most 16)")
    ] = None
    repeats: int = 10
    row_seconds: float = 120.0
    torch: Annotated[
        str | None, arg(metavar="MODULE:FACTORY", help_behavior_hint="(default: none)")
    ] = None
    out: Annotated[
        Path | None, arg(aliases=("-o",), metavar="DIR", help_behavior_hint="(default: none)")
    ] = None
    json: bool = False

    def __call__(self) -> int:
        from zipmap_jax.bench.report import markdown, write_result
        from zipmap_jax.bench.runtime import Effort
        from zipmap_jax.bench.series import run
        from zipmap_jax.files import dumps

        self._check_numbers()

        def grown(result: Result) -> None:
            if self.out:
                write_result(result, self.out)
            if result.rows:
                print(one_line(result.rows[-1]), file=sys.stderr, flush=True)

        # PyTorch first: JAX takes the memory of a GPU when it first computes, and keeps it.
        rows, notes = self._torch_rows()
        config = self._config()
        result = run(config, Effort(self.repeats, 2, self.row_seconds), grown, rows, notes)
        print(dumps(result.as_dict()) if self.json else markdown(result), end="")
        return 0

    def _check_numbers(self) -> None:
        numbers = {"repeats": self.repeats, "row-seconds": self.row_seconds, "chunk": self.chunk}
        for name, value in numbers.items():
            if value is not None and not value > 0:  # not a number is wrong as well
                raise UserError(f"--{name} must be positive, got {value:g}: leave it out")

    def _config(self, dtype: str | None = None) -> RuntimeConfig:
        from zipmap_jax.bench.series import RuntimeConfig

        return RuntimeConfig(
            preset=self.preset,
            views=parse_views(self.views),
            size=parse_size(self.size),
            heads=tuple(self.heads.split(",")),
            mixers=tuple(self.mixer.split(",")),  # pyright: ignore[reportArgumentType] checked
            streaming=self.streaming,
            query=self.query,
            dtype=dtype or self._dtype(),
            chunk=self.chunk,
        )

    def _dtype(self) -> str:
        if self.dtype != "auto":
            return self.dtype
        import jax

        return "fp32" if jax.default_backend() == "cpu" else "bf16"

    def _torch_rows(self) -> tuple[list[RuntimeRow], list[str]]:
        """Rows of the PyTorch model, and what to say of them."""
        if self.torch is None:
            return [], []
        from zipmap_jax.bench.torch_model import measure_torch

        if self.dtype == "auto":
            raise UserError(
                f"--torch needs the number format of both models, got --dtype {self.dtype}: "
                "give --dtype fp32 or bf16"
            )
        self._config(self.dtype).series()  # other mistakes show before the work
        rows = list(
            measure_torch(
                self.torch,
                list(parse_views(self.views)),
                parse_size(self.size),
                self.dtype,
                self.repeats,
                self.row_seconds,
            )
        )
        return rows, [f"torch: {self.torch}, as its factory makes it."]


def one_line(row: RuntimeRow) -> str:
    """Progress, for people."""
    what = f"{row.series}, {row.views} view{'s' * (row.views != 1)}"
    if row.seconds is None:
        return f"{what}: {row.missing}"
    return f"{what}: {row.seconds:.4g} s ({row.fastest:.4g} to {row.slowest:.4g})"
