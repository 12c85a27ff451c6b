"""Compiled inference programs, cached in the process and, on request, on disk."""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from zipmap_jax.inference.buckets import Bucket
from zipmap_jax.inference.offline_program import Step, compile_phases
from zipmap_jax.inference.stream_program import bucket_of_call, compile_stream
from zipmap_jax.structs import Prediction, Progress, Views

_NO_CACHE = "ZIPMAP_NO_CACHE"
_CACHE_EVENTS = {
    "/jax/compilation_cache/compile_requests_use_cache": "requests",
    "/jax/compilation_cache/cache_hits": "hits",
}


@dataclasses.dataclass(frozen=True)
class _Key:
    """Model and parameter shapes of a compiled program, hashable."""

    model: Any
    tree: Any  # a PyTreeDef
    leaves: tuple[tuple[tuple[int, ...], str], ...]


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled reconstruction.

    Attributes:
      run: `(params, views, step) -> Prediction` of host arrays; an `OfflineProgram` or a
        `StreamProgram`.
      bucket: shape of the views.
      seconds: duration of tracing and compiling.
      cached: whether all its parts were read from the cache on disk.
    """

    run: Callable[[Any, Views, Step], Prediction]
    bucket: Bucket
    seconds: float
    cached: bool

    @property
    def text(self) -> str:
        """Shape, origin and duration in one line."""
        origin = "read from the cache" if self.cached else "compiled"
        return f"program: {self.bucket.text}, {origin} in {self.seconds:.1f} s"


def compiled_update(
    model: Any,
    params: Any,
    bucket: Bucket,
    progress: Progress | None = None,
    on_program: Callable[[Program], None] | None = None,
) -> Program:
    """Returns the compiled program that reconstructs the scenes of a bucket.

    The program starts from the initial state and computes only cameras, depth and confidence. It is
    an `OfflineProgram` for a phased model, else a `StreamProgram`, which serves any number of
    chunks. Programs are cached for the life of the process, per model and bucket.

    Args:
      model: any `Model`.
      params: its parameters, or their shapes.
      bucket: shape of the views.
      progress: called as `progress("compiling", done, 1)`.
      on_program: called with the program.
    """
    report = progress or ignore_progress
    report("compiling", 0, 1)
    leaves, tree = jax.tree.flatten(params)
    shapes = tuple((tuple(leaf.shape), jnp.dtype(leaf.dtype).name) for leaf in leaves)
    call = bucket_of_call(model, bucket)
    program = _compile(_Key(model, tree, shapes), call)
    if call != bucket:
        program = dataclasses.replace(program, bucket=bucket)
    report("compiling", 1, 1)
    if on_program:
        on_program(program)
    return program


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Does nothing; the `Progress` of a caller without one."""
    del stage, done, total


@functools.lru_cache(maxsize=8)
def _compile(key: _Key, bucket: Bucket) -> Program:
    leaves = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in key.leaves]
    params = jax.tree.unflatten(key.tree, leaves)
    count = _cache_count()
    before, began = count.copy(), time.monotonic()
    make = compile_phases if key.model.phased else compile_stream
    run = make(key.model, params, bucket)
    seconds, new = time.monotonic() - began, count - before
    return Program(run, bucket, seconds, cached=0 < new["requests"] == new["hits"])


def forget_programs() -> None:
    """Drops the traced and compiled programs of this process, but not those on disk."""
    _compile.cache_clear()
    jax.clear_caches()


@functools.cache
def _cache_count() -> Counter[str]:
    """The "requests" to the cache on disk and its "hits", counted from the first call on."""
    count: Counter[str] = Counter()

    def listen(event: str, **details: Any) -> None:
        del details
        if event in _CACHE_EVENTS:
            count[_CACHE_EVENTS[event]] += 1

    jax.monitoring.register_event_listener(listen)
    return count


def enable_compilation_cache() -> Path | None:
    """Keeps compiled programs on disk for later processes.

    The command line calls it; the library does not. A configured `JAX_COMPILATION_CACHE_DIR` takes
    precedence over `$XDG_CACHE_HOME/zipmap-jax`, by default `~/.cache/zipmap-jax`.

    Returns:
      The directory in use, or None if `ZIPMAP_NO_CACHE` is set or no directory can be written.
    """
    if os.environ.get(_NO_CACHE, "") not in ("", "0"):
        return None
    configured = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if configured and "://" in configured:
        return Path(configured)
    if configured:
        reason = _why_unwritable(Path(configured))
        if reason is None:
            return Path(configured)
        warnings.warn(
            f"the folder {configured} of JAX_COMPILATION_CACHE_DIR cannot be written ({reason}): "
            "compiled programs are not kept",
            stacklevel=2,
        )
        jax.config.update("jax_compilation_cache_dir", None)
        return None
    # The XDG specification ignores relative paths.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        path = (base if base.is_absolute() else Path.home() / ".cache") / "zipmap-jax"
    except RuntimeError:  # no home
        return None
    if _why_unwritable(path):
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return path


def _why_unwritable(folder: Path) -> str | None:
    """Makes a folder and a file in it; the reason if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)
