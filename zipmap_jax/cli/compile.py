"""`zipmap compile`: compiles the programs of later runs ahead of time."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

from tyro.conf import arg

from zipmap_jax.cli.loading import Precision, policy_for
from zipmap_jax.cli.numbers import check_counts, parse_ratio
from zipmap_jax.cli.options import Chunk, Mode, Size
from zipmap_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Compile:
    """Compile programs into the cache, so that later runs of these shapes start without compiling.

    Numbers of views are rounded up as by zipmap run. Only the shapes of the weights are read.

    Attributes:
      model: "tiny" (embedded; also tiny-streaming, tiny-query), a converted folder, or
        hf://owner/repo/file@revision.
      views: numbers of views, separated by commas.
      ratio: aspect ratios of the pictures, width:height, separated by commas.
      size: width of the network images in pixels.
      mode: crop tall pictures to a square, or pad every picture to a square.
      batch_size: scenes per program, as in zipmap batch.
      chunk: views per chunk.
      precision: number format; auto is fp32 on the CPU and bf16 elsewhere.
      json: print one JSON object instead of text.
    """

    model: str = "tiny"
    views: Annotated[str, arg(metavar="N,N,...")] = "8,16"
    ratio: Annotated[str, arg(metavar="W:H,W:H,...")] = "4:3"
    size: Size = None
    mode: Mode = "crop"
    batch_size: Annotated[int, arg(metavar="N")] = 1
    chunk: Chunk = None
    precision: Precision = "auto"
    json: bool = False

    def __call__(self) -> int:
        from zipmap_jax.inference.compile import enable_compilation_cache
        from zipmap_jax.inference.warm_cache import buckets_for, shapes_of_model, warm

        views = [_integer("--views", text) for text in self.views.split(",")]
        ratios = [parse_ratio(text) for text in self.ratio.split(",")]
        check_counts(batch_size=self.batch_size, chunk=self.chunk)
        cache = enable_compilation_cache()
        if cache is None:
            raise UserError(
                "there is no folder for compiled programs: unset ZIPMAP_NO_CACHE, or set "
                "JAX_COMPILATION_CACHE_DIR to a writable folder"
            )
        model, params, default_size = shapes_of_model(self.model, policy_for(self.precision))
        buckets = buckets_for(
            model,
            params,
            views,
            ratios,
            size=default_size if self.size is None else self.size,
            mode=self.mode,
            chunk=self.chunk,
            scenes=self.batch_size,
        )
        rows = []
        for result in warm(model, params, buckets):
            rows.append(dataclasses.asdict(result))
            if not self.json:
                verb = "read from the cache" if result.known else "compiled"
                note = "" if result.kept else " (parts compile too quickly to be cached)"
                print(
                    f"{result.bucket.text}: {verb} in {result.first:.1f} s, "
                    f"a second start {result.again:.1f} s{note}",
                    flush=True,
                )
        print(json.dumps({"programs": rows, "cache": str(cache)}) if self.json else cache)
        return 0


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{name} takes whole numbers like 8,16,32, got {text!r}") from None
