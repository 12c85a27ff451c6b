"""`zipmap bench memory`: bytes of a reconstruction against the number of views."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from zipmap_jax.cli.loading import Precision
from zipmap_jax.cli.numbers import parse_size, parse_views
from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.bench.memory_table import MemoryResult


@dataclasses.dataclass(frozen=True)
class BenchMemory:
    """Compile reconstructions of more and more views and tell the memory that each would take.

    Nothing is run, so it works for sizes that this machine could not hold; with --target h200, for
    a GPU that it does not have.

    Attributes:
      preset: large, small or tiny.
      views: numbers of views, such as 1,25,100.
      size: of the images, HEIGHTxWIDTH.
      heads: which heads are on, of camera,depth,points.
      mixer: of the global blocks.
      streaming: of the streaming model, which takes one chunk of views after the other.
      dtype: number format; auto is fp32 on the CPU and bf16 elsewhere.
      chunk: views worked on at once.
      target: compile for this machine's device or for an H200.
      out: folder for memory.json and memory.md, written after every row.
      json: print one JSON object instead of the table.
    """

    preset: str = "large"
    views: str = "1,25,100,750"
    size: str = "392x518"
    heads: str = "camera,depth"
    mixer: Literal["fast_weights", "attention"] = "fast_weights"
    streaming: bool = False
    dtype: Precision = "auto"
    chunk: Annotated[
        int | None, arg(metavar="N", help_behavior_hint="(default: even chunks of at most 16)")
    ] = None
    target: Literal["here", "h200"] = "here"
    out: Annotated[
        Path | None, arg(aliases=("-o",), metavar="DIR", help_behavior_hint="(default: none)")
    ] = None
    json: bool = False

    def __call__(self) -> int:
        import jax

        from zipmap_jax.bench.memory_table import MemoryConfig, markdown, memory_table
        from zipmap_jax.files import dumps, write_json, write_text

        if self.chunk is not None and self.chunk < 1:
            raise UserError(f"--chunk must be at least 1 view, got {self.chunk}: leave it out")
        dtype = self.dtype
        if self.target == "h200":
            # The compiler's plugin would look for the GPU that is not there.
            jax.config.update("jax_platforms", "cpu")
        if dtype == "auto":
            here = self.target == "here" and jax.default_backend() == "cpu"
            dtype = "fp32" if here else "bf16"
        config = MemoryConfig(
            self.preset,
            parse_views(self.views),
            parse_size(self.size),
            tuple(self.heads.split(",")),
            self.mixer,
            self.streaming,
            dtype,
            self.chunk,
            self.target,
        )

        def grown(result: MemoryResult) -> None:
            row = result.rows[-1]
            size = f"{row.program.total / 1e9:.2f} GB" if row.program else row.missing
            print(f"{row.views} views: {size}", file=sys.stderr, flush=True)
            if self.out:
                self.out.mkdir(parents=True, exist_ok=True)
                write_json(self.out / "memory.json", result.as_dict())
                write_text(self.out / "memory.md", markdown(result))

        result = memory_table(config, grown)
        print(dumps(result.as_dict()) if self.json else markdown(result), end="")
        return 0
