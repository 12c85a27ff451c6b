"""Compiled inference programs: built ahead of time, kept for the process, on request on disk."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.structs import Prediction, Views

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

_NO_CACHE = "ZIPMAP_NO_CACHE"


@dataclasses.dataclass(frozen=True)
class _Program:
    """What decides a compiled program; hashable."""

    model: Any
    chunk: int | None
    tree: Any  # a PyTreeDef
    leaves: tuple[tuple[tuple[int, ...], str], ...]


def compiled_update(model: Any, params: Any, views: Views, chunk: int | None) -> Any:
    """Program `(params, views) -> Prediction` for one offline reconstruction.

    It starts from the initial state, runs one `model.update` over all views and returns only what a
    scene is made of: depth, confidence and the last pose encoding, so the compiler removes the
    local-point head. Programs are kept per model, chunk and shapes for the life of the process.

    Args:
      model: a `ZipMap`, or anything hashable with `init_state` and `update`.
      params: its parameters, or their shapes.
      views: the views, or their shapes.
      chunk: views handled at a time.
    """
    leaves, tree = jax.tree.flatten((params, views))
    shapes = tuple((tuple(leaf.shape), jnp.dtype(leaf.dtype).name) for leaf in leaves)
    return _compile(_Program(model, chunk, tree, shapes))


@functools.lru_cache(maxsize=8)
def _compile(program: _Program) -> Any:
    model, chunk = program.model, program.chunk

    def update(params: Any, views: Views) -> Prediction:
        state = model.init_state(params, views.images.shape[0])
        _, prediction = model.update(params, state, views, chunk=chunk)
        assert prediction.pose_enc is not None
        return Prediction(
            depth=prediction.depth.astype(jnp.float32),
            depth_conf=prediction.depth_conf.astype(jnp.float32),
            pose_enc=prediction.pose_enc[-1:].astype(jnp.float32),
        )

    leaves = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in program.leaves]
    params, views = jax.tree.unflatten(program.tree, leaves)
    return jax.jit(update).lower(params, views).compile()


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


def padded_views(
    images: Float[np.ndarray, "v h w 3"], chunk: int | None
) -> tuple[Float[Array, "1 n h w 3"], Bool[Array, "1 n"]]:
    """Views padded to a multiple of `chunk` with black images, and which of them are real.

    Compiled programs are per number of views: rounding it up lets neighbouring counts share one,
    and no chunk is left partly filled.
    """
    views = images.shape[0]
    extra = -views % chunk if chunk else 0
    padding = ((0, extra), (0, 0), (0, 0), (0, 0))
    valid = jnp.arange(views + extra) < views
    return jnp.pad(jnp.asarray(images), padding)[None], valid[None]
