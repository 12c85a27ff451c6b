"""`zipmap bench runtime`: seconds, memory and TFLOP/s against the number of views."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from zipmap_jax.cli.loading import Precision, number_format
from zipmap_jax.cli.numbers import parse_size, parse_views
from zipmap_jax.cli.options import EvenChunk, Folder
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.bench.runtime import RuntimeRow
    from zipmap_jax.bench.series import RuntimeConfig, RuntimeResult


@dataclasses.dataclass(frozen=True)
class BenchRuntime:
    """Time a forward call against the number of views, with random weights and images.

    Rows report median and range of the calls after two warm-up calls, compilation time, memory,
    and the FLOP rate next to that of a matrix product. Calls that do not fit in memory are marked.

    Attributes:
      preset: large, small or tiny.
      views: numbers of views, such as 5,10,25.
      size: size of the images, HEIGHTxWIDTH.
      heads: active heads, of camera,depth,points.
      mixer: mixer of the global blocks: fast_weights, attention, or both with a comma.
      streaming: also time one frame of the streaming model.
      query: also time one view read from the state of the state-query model.
      dtype: number format; auto is fp32 on the CPU and bf16 elsewhere.
      chunk: views per chunk.
      repeats: timed calls per row.
      row_seconds: seconds after which no further call of a row starts.
      torch: MODULE:FACTORY of a PyTorch model to time as well, with images
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
    chunk: EvenChunk = None
    repeats: int = 10
    row_seconds: float = 120.0
    torch: Annotated[
        str | None, arg(metavar="MODULE:FACTORY", help_behavior_hint="(default: none)")
    ] = None
    out: Folder = None
    json: bool = False

    def __call__(self) -> int:
        from zipmap_jax.bench.report import markdown, write_result
        from zipmap_jax.bench.runtime import Effort
        from zipmap_jax.bench.series import run
        from zipmap_jax.files import dumps

        self._check_numbers()

        def on_result(result: RuntimeResult) -> None:
            if self.out:
                write_result(result, self.out)
            if result.rows:
                print(one_line(result.rows[-1]), file=sys.stderr, flush=True)

        # PyTorch first: JAX reserves the memory of a GPU when it first computes.
        rows, notes = self._torch_rows()
        effort = Effort(self.repeats, 2, self.row_seconds)
        result = run(self._config(), effort, on_result, rows, notes)
        print(dumps(result.as_dict()) if self.json else markdown(result), end="")
        return 0

    def _check_numbers(self) -> None:
        numbers = {"repeats": self.repeats, "row-seconds": self.row_seconds, "chunk": self.chunk}
        for name, value in numbers.items():
            if value is not None and not value > 0:  # also refuses NaN
                raise UserError(f"--{name} must be positive, got {value:g}: leave it out")

    def _config(self) -> RuntimeConfig:
        from zipmap_jax.bench.series import RuntimeConfig

        return RuntimeConfig(
            preset=self.preset,
            views=parse_views(self.views),
            size=parse_size(self.size),
            heads=tuple(self.heads.split(",")),
            mixers=tuple(self.mixer.split(",")),  # pyright: ignore[reportArgumentType] checked
            streaming=self.streaming,
            query=self.query,
            dtype=number_format(self.dtype),
            chunk=self.chunk,
        )

    def _torch_rows(self) -> tuple[list[RuntimeRow], list[str]]:
        """Rows of the PyTorch model, and notes about them."""
        if self.torch is None:
            return [], []
        from zipmap_jax.bench.torch_model import measure_torch

        if self.dtype == "auto":
            raise UserError(
                f"--torch needs the number format of both models, got --dtype {self.dtype}: "
                "give --dtype fp32 or bf16"
            )
        self._config().series()  # validates the other options first
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
        return rows, [f"torch: {self.torch}, as returned by its factory."]


def one_line(row: RuntimeRow) -> str:
    """Progress of one row."""
    call = f"{row.series}, {row.views} view{'s' * (row.views != 1)}"
    if row.seconds is None:
        return f"{call}: {row.missing}"
    return f"{call}: {row.seconds:.4g} s ({row.fastest:.4g} to {row.slowest:.4g})"
