"""Timing of a user's PyTorch model with the protocol of `zipmap_jax.bench.runtime`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from zipmap_jax.bench.runtime import RuntimeRow, first_line, with_timing
from zipmap_jax.bench.timing import timed
from zipmap_jax.errors import MissingPackageError, UserError

SERIES = "torch"


def load_factory(name: str) -> Callable[[], Any]:
    """The function of the name `MODULE:FACTORY`.

    Raises:
      UserError: the module or the function does not exist.
    """
    module, colon, factory = name.partition(":")
    if not (module and colon and factory):
        raise UserError(f"--torch takes MODULE:FACTORY, such as my_model:build, got {name!r}")
    try:
        return getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"--torch {name}: {error}: name a module on the Python path and a function in it"
        ) from error


def measure_torch(
    name: str,
    views: list[int],
    size: tuple[int, int],
    dtype: str,
    repeats: int = 10,
    row_seconds: float = 120.0,
) -> Iterator[RuntimeRow]:
    """Time `FACTORY()(images)` for images [1, views, 3, height, width] in [0, 1].

    It must run before JAX uses a GPU, as JAX reserves most of the memory.

    Args:
      name: "MODULE:FACTORY"; the factory has no arguments and returns a module or a function.
      views: numbers of views.
      size: (height, width) of the images.
      dtype: "bf16" = autocast around the call, with unchanged weights; "fp32" = none.
      repeats, row_seconds: as for `runtime.Effort`.

    Raises:
      UserError: torch or the model is missing.
    """
    factory = load_factory(name)
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        raise MissingPackageError("--torch needs PyTorch: pip install torch") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = factory()
    if hasattr(model, "eval"):
        model = model.eval().to(device)
    autocast = (
        torch.autocast(device, dtype=torch.bfloat16)
        if dtype == "bf16"
        else contextlib.nullcontext()
    )

    def clock() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    reason = ""
    with torch.inference_mode(), autocast:
        for count in sorted(set(views)):
            row = RuntimeRow(SERIES, count, missing=reason)
            if not reason:
                try:
                    images = torch.rand(1, count, 3, *size, device=device)
                    call = functools.partial(model, images)
                    timing = timed(call, repeats, limit=row_seconds, clock=clock)
                    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
                    row = dataclasses.replace(with_timing(row, timing), peak_bytes=peak)
                except (MemoryError, RuntimeError) as error:
                    if "out of memory" not in str(error).lower():
                        raise
                    reason = "does not fit: " + first_line(error)
                    row = RuntimeRow(SERIES, count, missing=reason)
            yield row
    del model
    if device == "cuda":
        torch.cuda.empty_cache()
