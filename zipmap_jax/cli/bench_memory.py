"""`zipmap bench memory`: memory of a reconstruction against the number of views."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Literal

from zipmap_jax.cli.loading import Precision, number_format
from zipmap_jax.cli.numbers import check_counts, parse_size, parse_views
from zipmap_jax.cli.options import EvenChunk, Folder

if TYPE_CHECKING:
    from zipmap_jax.bench.memory_table import MemoryResult


@dataclasses.dataclass(frozen=True)
class BenchMemory:
    """Compile reconstructions for several numbers of views and report their memory.

    Nothing is run, so sizes can exceed this machine's memory, and --target h200 needs no GPU.

    Attributes:
      preset: large, small or tiny.
      views: numbers of views, such as 1,25,100.
      size: size of the images, HEIGHTxWIDTH.
      heads: active heads, of camera,depth,points.
      mixer: mixer of the global blocks.
      streaming: compile the streaming model, which processes views chunk by chunk.
      dtype: number format; auto is fp32 on the CPU and bf16 elsewhere.
      chunk: views per chunk.
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
    chunk: EvenChunk = None
    target: Literal["here", "h200"] = "here"
    out: Folder = None
    json: bool = False

    def __call__(self) -> int:
        import jax

        from zipmap_jax.bench.memory_table import MemoryConfig, markdown, memory_table
        from zipmap_jax.files import dumps, write_json, write_text

        check_counts(chunk=self.chunk)
        if self.target == "h200":
            # The compiler's plugin would look for a GPU.
            jax.config.update("jax_platforms", "cpu")
        bf16 = (self.target, self.dtype) == ("h200", "auto")
        config = MemoryConfig(
            self.preset,
            parse_views(self.views),
            parse_size(self.size),
            tuple(self.heads.split(",")),
            self.mixer,
            self.streaming,
            "bf16" if bf16 else number_format(self.dtype),
            self.chunk,
            self.target,
        )

        def on_result(result: MemoryResult) -> None:
            row = result.rows[-1]
            size = f"{row.program.total / 1e9:.2f} GB" if row.program else row.missing
            print(f"{row.views} views: {size}", file=sys.stderr, flush=True)
            if self.out:
                self.out.mkdir(parents=True, exist_ok=True)
                write_json(self.out / "memory.json", result.as_dict())
                write_text(self.out / "memory.md", markdown(result))

        result = memory_table(config, on_result)
        print(dumps(result.as_dict()) if self.json else markdown(result), end="")
        return 0
