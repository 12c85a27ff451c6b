"""Compiled inference programs: built ahead of time, kept for the process, on request on disk."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from zipmap_jax.inference.buckets import Bucket
from zipmap_jax.inference.offline_program import Step, compile_phases
from zipmap_jax.inference.stream_program import compile_stream, one_call
from zipmap_jax.structs import Prediction, Views

_NO_CACHE = "ZIPMAP_NO_CACHE"
_CACHE_EVENTS = {
    "/jax/compilation_cache/compile_requests_use_cache": "asked",
    "/jax/compilation_cache/cache_hits": "found",
}


@dataclasses.dataclass(frozen=True)
class _Key:
    """What decides a compiled program; hashable."""

    model: Any
    tree: Any  # a PyTreeDef
    leaves: tuple[tuple[tuple[int, ...], str], ...]


@dataclasses.dataclass(frozen=True)
class Program:
    """A reconstruction that is ready to run.

    Attributes:
      run: `(params, views, step) -> Prediction`, host arrays in and out; see `Phased`.
      bucket: the shape it is for.
      seconds: that tracing and compiling took.
      cached: whether all that was compiled lay on disk.
    """

    run: Callable[[Any, Views, Step], Prediction]
    bucket: Bucket
    seconds: float
    cached: bool

    @property
    def text(self) -> str:
        """For people."""
        made = "read from the cache" if self.cached else "compiled"
        return f"program: {self.bucket.text}, {made} in {self.seconds:.1f} s"


def compiled_update(model: Any, params: Any, bucket: Bucket) -> Program:
    """The program that reconstructs scenes that fill a bucket.

    It starts from the initial state and returns only what a scene is made of, cameras, depth and
    confidence, so the compiler removes other heads. It is in three parts, see
    `zipmap_jax.inference.offline_program`, unless the model takes views in one after the other, see
    `zipmap_jax.inference.stream_program`. Programs are kept for the life of the process, per model
    and bucket; those of streams do not depend on the number of chunks.

    Args:
      model: any `Model`.
      params: its parameters, or their shapes.
      bucket: shape of the views, how many are handled at a time, and by how many devices.
    """
    leaves, tree = jax.tree.flatten(params)
    shapes = tuple((tuple(leaf.shape), jnp.dtype(leaf.dtype).name) for leaf in leaves)
    few = one_call(model, bucket)
    program = _compile(_Key(model, tree, shapes), few)
    return program if few == bucket else dataclasses.replace(program, bucket=bucket)


@functools.lru_cache(maxsize=8)
def _compile(key: _Key, bucket: Bucket) -> Program:
    leaves = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in key.leaves]
    params = jax.tree.unflatten(key.tree, leaves)
    count = _cache_count()
    before, began = count.copy(), time.monotonic()
    make = compile_phases if key.model.phased else compile_stream
    run = make(key.model, params, bucket)
    seconds, asked = time.monotonic() - began, count["asked"] - before["asked"]
    return Program(run, bucket, seconds, 0 < asked == count["found"] - before["found"])


def forget_programs() -> None:
    """Drop what this process has traced and compiled; what lies on disk stays."""
    _compile.cache_clear()
    jax.clear_caches()


@functools.cache
def _cache_count() -> Counter[str]:
    """How many programs were "asked" for on disk and "found" there, from the first call on."""
    count: Counter[str] = Counter()

    def listen(event: str, **details: Any) -> None:
        del details
        if event in _CACHE_EVENTS:
            count[_CACHE_EVENTS[event]] += 1

    jax.monitoring.register_event_listener(listen)
    return count


def enable_compilation_cache() -> Path | None:
    """Keep compiled programs on disk, so that the next process starts at once.

    The place is `$XDG_CACHE_HOME/zipmap-jax`, by default `~/.cache/zipmap-jax`. For programs with a
    user interface; importing the library never does this. A cache directory that is configured
    already (`JAX_COMPILATION_CACHE_DIR`) is left as it is.

    Returns:
      The directory in use, or None if `ZIPMAP_NO_CACHE` is set or no directory can be written.
    """
    if os.environ.get(_NO_CACHE, "") not in ("", "0"):
        return None
    configured = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if configured:
        return Path(configured)
    # The XDG specification tells to ignore relative paths.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        path = (base if base.is_absolute() else Path.home() / ".cache") / "zipmap-jax"
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    if not os.access(path, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return path
