"""Parameters of a new run: random, from VGGT, or from earlier weights."""

from __future__ import annotations

import collections
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.convert.hub import embedded, find
from zipmap_jax.convert.rules import flatten, nest, shapes_of
from zipmap_jax.convert.torch_state import read_state
from zipmap_jax.convert.vggt import from_vggt, plan
from zipmap_jax.errors import UserError
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import POLICIES
from zipmap_jax.train.checkpoint import Checkpoints
from zipmap_jax.train.linear_probe import with_probe
from zipmap_jax.train.state import TrainState, initial_state
from zipmap_jax.tree import path_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Array, Float, Key

    from zipmap_jax.train.config.schema import StartConfig, TrainConfig


def model_of(config: TrainConfig) -> ZipMap:
    """Return the model of a run for one device."""
    return ZipMap(config.model, POLICIES[config.policy], config.remat)


def new_state(config: TrainConfig) -> TrainState:
    """Return the state before the first step, with random parameters."""
    params = random_parameters(model_of(config), jax.random.key(config.seed), config.token_scale)
    return initial_state(with_probe(params, config), config.optim)


def state_shapes(config: TrainConfig) -> TrainState:
    """Return the shapes of `new_state`."""
    return jax.eval_shape(functools.partial(new_state, config))


def open_start(model: ZipMap, config: StartConfig, shapes: Any) -> Callable[[Any], tuple[Any, str]]:
    """Open the weights that a new run starts from and compare them with the model.

    Args:
      model: the model to be trained.
      config: of kind "vggt" or "weights".
      shapes: its parameters, or their shapes.

    Returns:
      A function of random parameters on the host. It returns NumPy parameters, with random ones
      where the weights have none, and a report of the loaded, fresh and ignored tensors.

    Raises:
      UserError: the file is missing or damaged, no tensor or another shape matches the model, or
        `like` names a module without counterpart.
    """
    require_start(config)
    if config.kind == "vggt":
        state = read_state(config.path)
        plan(shapes_of(state), model.config)

        def from_state(fresh: Any) -> tuple[Any, str]:
            params, report = from_vggt(state, model.config, fresh)
            return params, f"starting from VGGT, {config.path}\n{report}"

        return from_state
    saved, needed = _saved(config), flatten(shapes)
    saved |= copies(saved, needed, config.like)
    loaded, fresh, ignored = match_weights(saved, needed, config.path)
    parts = ((loaded, "loaded"), (fresh, "freshly initialised"), (ignored, "ignored"))
    lines = [f"{len(names)} {what}: {_by_module(names)}" for names, what in parts if names]
    report = "\n".join([f"starting from the weights of {config.path}", *lines])

    def from_saved(fresh: Any) -> tuple[Any, str]:
        arrays = {name: np.asarray(saved[name], np.float32) for name in loaded}
        return nest(flatten(fresh) | arrays), report

    return from_saved


def require_start(config: StartConfig) -> None:
    """Check that the path of a start exists.

    Raises:
      UserError: it does not.
    """
    if not start_exists(config):
        raise UserError(missing_start(config))


def missing_start(config: StartConfig) -> str:
    """Return the error message for a start that does not exist."""
    return f"nothing to start from at {config.path!r}: give --start.path"


def start_exists(config: StartConfig) -> bool:
    """Whether the path of a start exists; web addresses are assumed to."""
    path = config.path
    known = "://" in path or Path(path).exists() or embedded(path) is not None
    return config.kind == "random" or known


def _by_module(names: list[str]) -> str:
    """Names grouped by their first part: `camera_head/ (22), camera_token, ...`."""
    modules = collections.Counter(name.split("/")[0] for name in names)
    whole = set(names)
    return ", ".join(
        module if module in whole else f"{module}/ ({n})" for module, n in modules.items()
    )


def _saved(config: StartConfig) -> dict[str, Any]:
    """Parameters by path, from a work directory or any format that `convert` reads."""
    folder = Path(config.path) / "checkpoints"
    if embedded(config.path) or not folder.is_dir():
        return dict(find(config.path, ema=config.weights == "ema").leaves)
    with Checkpoints(folder) as checkpoints:
        like = jax.eval_shape(ZipMap(checkpoints.config().model).init, jax.random.key(0))
        return flatten(checkpoints.restore_weights(like, config.weights))


def copies(
    saved: dict[str, Any], fresh: dict[str, Any], like: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    """Return tensors for modules that the saved weights lack, taken from other saved modules.

    Args:
      saved, fresh: leaves by path.
      like: see `StartConfig`.

    Raises:
      UserError: the weights have the module, or none of its tensors has a counterpart.
    """
    copied: dict[str, Any] = {}
    for module, other in like:
        renamed = {
            module + path.removeprefix(other): leaf
            for path, leaf in saved.items()
            if path.startswith(f"{other}/")
        }
        fitting = {
            path: leaf
            for path, leaf in renamed.items()
            if path in fresh and np.shape(fresh[path]) == np.shape(leaf)
        }
        if not fitting or any(path.startswith(f"{module}/") for path in saved):
            raise UserError(
                f"start.like copies {other} to {module}, but the weights contain {module} already "
                f"or no tensor of {other} fits: remove the pair"
            )
        copied |= fitting
    return copied


def match_weights(
    saved: dict[str, Any], needed: dict[str, Any], path: str
) -> tuple[list[str], list[str], list[str]]:
    """Compare saved weights with the parameters of a model, both by path.

    Returns:
      Names that both have, that only the model has, and that only the weights have.

    Raises:
      UserError: no name agrees, or a shape differs; the message names `path`.
    """
    wrong = [n for n, x in saved.items() if n in needed and np.shape(x) != np.shape(needed[n])]
    if wrong:
        raise UserError(
            f"{path} holds {wrong[0]} of shape {np.shape(saved[wrong[0]])}, but the model needs "
            f"{np.shape(needed[wrong[0]])} ({len(wrong)} such tensors): start.path must name "
            "weights of the same size"
        )
    loaded = [name for name in needed if name in saved]
    if not loaded:
        raise UserError(f"{path} holds no tensor of this model: start.path must name its weights")
    fresh = [name for name in needed if name not in saved]
    return loaded, fresh, [name for name in saved if name not in needed]


def random_parameters(
    model: ZipMap, key: Key[Array, ""], token_scale: float | None = None
) -> dict[str, Any]:
    """Draw parameters whose tokens and positions can be trained from scratch.

    The published initial tokens have a standard deviation of 1e-6, which suits a start from
    pretrained weights. The layer norm behind them multiplies gradients by up to 1000 at that size,
    so the tokens alone would fill the clipped gradient. Positions start as sines, so neighbours are
    alike from the first step. Queries start equal to keys, so similar patches match.

    Args:
      model: the model.
      key: random key.
      token_scale: standard deviation of every learned token; None = the published initialisation.
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
            _, keys, values = jnp.split(kernel, 3, axis=-1)
            mixer[name][projection]["kernel"] = jnp.concatenate([keys, keys, values], axis=-1)
    return params


def sine_positions(side: int, width: int, scale: float = 0.5) -> Float[np.ndarray, "1 t c"]:
    """Sines and cosines of x, then of y, on a square grid, after zeros for the class token.

    Wavelengths range geometrically from two images to four patches.
    """
    centres = (np.arange(side) + 0.5) / side
    frequency = np.pi * np.geomspace(1, side / 2, width // 4)
    wave = centres[:, None] * frequency
    wave = np.concatenate([np.sin(wave), np.cos(wave)], -1)
    shape = (side, side, wave.shape[-1])
    grid = [np.broadcast_to(wave[None], shape), np.broadcast_to(wave[:, None], shape)]
    table = np.concatenate(grid, -1).reshape(side * side, -1)
    return scale * np.pad(table, [(1, 0), (0, 0)])[None].astype(np.float32)


def hash_of(name: str) -> int:
    """Return a hash of a parameter path that is equal in every process."""
    return int.from_bytes(name.encode(), "big") % (2**31 - 1)
