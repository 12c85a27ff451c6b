"""What a new run starts from."""

from __future__ import annotations

import collections
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.convert.hub import embedded, find
from zipmap_jax.convert.rules import flatten, nest
from zipmap_jax.convert.torch_state import read_state
from zipmap_jax.convert.vggt import from_vggt
from zipmap_jax.errors import UserError
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import POLICIES
from zipmap_jax.train.checkpoint import Checkpoints
from zipmap_jax.train.linear_probe import with_probe
from zipmap_jax.train.state import TrainState, initial_state
from zipmap_jax.tree import path_name

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Key

    from zipmap_jax.train.config.schema import StartConfig, TrainConfig


def model_of(config: TrainConfig) -> ZipMap:
    """The model of a run, with its number formats, on one device."""
    return ZipMap(config.model, POLICIES[config.policy], config.remat)


def new_state(config: TrainConfig) -> TrainState:
    """State of a run before its first step, with freshly drawn parameters."""
    params = random_parameters(model_of(config), jax.random.key(config.seed), config.token_scale)
    return initial_state(with_probe(params, config), config.optim)


def state_shapes(config: TrainConfig) -> TrainState:
    """Shapes of `new_state`."""
    return jax.eval_shape(functools.partial(new_state, config))


def given_parameters(model: ZipMap, config: StartConfig, fresh: Any) -> tuple[Any, str]:
    """The parameters that `config` names, and for what they lack the fresh ones.

    Args:
      model: the model to be trained.
      config: of kind "vggt" or "weights".
      fresh: its freshly drawn parameters, on the host.

    Returns:
      NumPy parameters, and a report: what was loaded, what starts fresh, what was of no use.

    Raises:
      UserError: nothing fits, a tensor has another shape than the model's, or a module is to start
        from one that has nothing for it.
    """
    if config.kind == "vggt":
        params, report = from_vggt(read_state(config.path), model.config, fresh)
        return params, f"starting from VGGT, {config.path}\n{report}"
    saved = _saved(config)
    saved |= copies(saved, flatten(fresh), config.like)
    params, loaded, left, unused = merge_weights(saved, fresh, config.path)
    parts = ((loaded, "loaded"), (left, "freshly initialised"), (unused, "ignored"))
    lines = [f"{len(names)} {what}: {_by_module(names)}" for names, what in parts if names]
    return params, "\n".join([f"starting from the weights of {config.path}", *lines])


def require_start(config: StartConfig) -> None:
    """Refuse a new run whose starting point is not there, before anything is made.

    Raises:
      UserError: there is nothing at the path.
    """
    if not can_start(config):
        raise UserError(no_start(config))


def no_start(config: StartConfig) -> str:
    """What is said of a run that has nothing to start from."""
    return f"nothing to start from at {config.path!r}: give --start.path"


def can_start(config: StartConfig) -> bool:
    """Whether there is something at the path to start from; addresses are not tried."""
    path = config.path
    known = "://" in path or Path(path).exists() or embedded(path) is not None
    return config.kind == "random" or known


def _by_module(names: list[str]) -> str:
    """Names by what they begin with: `camera_head (22), camera_token, ...`."""
    modules = collections.Counter(name.split("/")[0] for name in names)
    whole = set(names)
    return ", ".join(
        module if module in whole else f"{module}/ ({n})" for module, n in modules.items()
    )


def _saved(config: StartConfig) -> dict[str, Any]:
    """Saved parameters by path, of a run's work directory or of anything that `convert` reads."""
    folder = Path(config.path) / "checkpoints"
    if embedded(config.path) or not folder.is_dir():
        return dict(find(config.path, ema=config.weights == "ema").leaves)
    with Checkpoints(folder) as checkpoints:
        like = jax.eval_shape(ZipMap(checkpoints.config().model).init, jax.random.key(0))
        return flatten(checkpoints.restore_weights(like, config.weights))


def copies(
    saved: dict[str, Any], fresh: dict[str, Any], like: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    """Tensors for modules that the saved weights lack, from other modules of theirs.

    Args:
      saved, fresh: leaves by path.
      like: see `StartConfig`.

    Raises:
      UserError: a module is there already, or none of its tensors has a counterpart.
    """
    found: dict[str, Any] = {}
    for module, other in like:
        theirs = {
            module + path.removeprefix(other): leaf
            for path, leaf in saved.items()
            if path.startswith(f"{other}/")
        }
        pairs = {
            path: leaf
            for path, leaf in theirs.items()
            if path in fresh and np.shape(fresh[path]) == np.shape(leaf)
        }
        if not pairs or any(path.startswith(f"{module}/") for path in saved):
            raise UserError(
                f"start.like gives {module} what {other} has, but the weights hold the former or "
                "nothing that fits of the latter: take the pair out"
            )
        found |= pairs
    return found


def merge_weights(
    saved: dict[str, Any], fresh: Any, path: str
) -> tuple[Any, list[str], list[str], list[str]]:
    """Saved leaves, by path, over fresh ones where names agree.

    Returns:
      NumPy parameters, and the paths that were loaded, that stay fresh, that were of no use.

    Raises:
      UserError: no name agrees, or a shape does not; `path` is named.
    """
    merged = flatten(fresh)
    wrong = [n for n, x in saved.items() if n in merged and np.shape(x) != np.shape(merged[n])]
    if wrong:
        raise UserError(
            f"{path} holds {wrong[0]} of shape {np.shape(saved[wrong[0]])}, but the model needs "
            f"{np.shape(merged[wrong[0]])} ({len(wrong)} such tensors): start.path must name "
            "weights of the same size"
        )
    loaded = [name for name in merged if name in saved]
    if not loaded:
        raise UserError(f"{path} holds no tensor of this model: start.path must name its weights")
    left = [name for name in merged if name not in saved]
    merged |= {name: np.asarray(saved[name], np.float32) for name in loaded}
    return nest(merged), loaded, left, [name for name in saved if name not in loaded]


def random_parameters(
    model: ZipMap, key: Key[Array, ""], token_scale: float | None = None
) -> dict[str, Any]:
    """Freshly drawn parameters, with tokens and positions that can be trained from scratch.

    The published initial tokens have a standard deviation of 1e-6, which suits a start from
    pretrained weights. The layer norm behind them multiplies gradients by up to 1000 at that size,
    so that the tokens alone would fill the clipped gradient. Positions start as sines instead of
    noise, so that neighbours are alike from the first step. The queries of the fast weights start
    as the keys, so that what looks alike finds each other from the first step.

    Args:
      model: the model.
      key: random key.
      token_scale: standard deviation of every learned token; None = tokens and positions as the
        model draws them.
    """
    first, second = jax.random.split(key)
    params = model.init(first)
    if token_scale is None:
        return params

    def redrawn(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        name = path_name(path)
        if name == "embedder/pos_embed":
            return jnp.asarray(sine_positions(round((leaf.shape[1] - 1) ** 0.5), leaf.shape[-1]))
        if not name.endswith(("_token", "_tokens")) or name.startswith("camera_head"):
            return leaf
        noise = jax.random.normal(jax.random.fold_in(second, hash_of(name)), leaf.shape)
        return token_scale * noise

    params = jax.tree_util.tree_map_with_path(redrawn, params)
    mixer = params["global_blocks"]
    for name, projection in (("ttt", "to_qkv"), ("attn", "qkv")):
        if name in mixer:
            kernel = mixer[name][projection]["kernel"]
            queries, keys, values = jnp.split(kernel, 3, axis=-1)
            del queries
            mixer[name][projection]["kernel"] = jnp.concatenate([keys, keys, values], axis=-1)
    return params


def sine_positions(side: int, width: int, scale: float = 0.5) -> Float[np.ndarray, "1 t c"]:
    """Sines and cosines of x, then of y, for a square grid; zero for the class token before it.

    Wavelengths range geometrically from two images to four patches.
    """
    where = (np.arange(side) + 0.5) / side
    frequency = np.pi * np.geomspace(1, side / 2, width // 4)
    wave = where[:, None] * frequency
    wave = np.concatenate([np.sin(wave), np.cos(wave)], -1)
    shape = (side, side, wave.shape[-1])
    grid = [np.broadcast_to(wave[None], shape), np.broadcast_to(wave[:, None], shape)]
    table = np.concatenate(grid, -1).reshape(side * side, -1)
    return scale * np.pad(table, [(1, 0), (0, 0)])[None].astype(np.float32)


def hash_of(name: str) -> int:
    """A number for a parameter path, the same in every process."""
    return int.from_bytes(name.encode(), "big") % (2**31 - 1)
