"""AdamW of the ZipMap recipe: learning rate, weight decay mask, clipping (training, section 5)."""

from __future__ import annotations

import fnmatch
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from zipmap_jax.errors import UserError
from zipmap_jax.tree import path_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Array, Float

    from zipmap_jax.train.config.schema import OptimConfig

Params = Any
"""Nested dictionaries of arrays."""

MASK_TOKEN = "embedder/mask_token"
"""Frozen by default; the smallest models have none."""
STACKED = frozenset({"blocks", "frame_blocks", "global_blocks", "trunk"})
"""Trees below these names hold all layers at once, on a leading axis."""


def learning_rate(
    progress: float | Float[Array, ""], peak: float, config: OptimConfig
) -> Float[Array, ""]:
    """Linear warm-up to `peak`, then half a cosine down to the floor.

    `lr = f + (peak - f) t / warmup` while `t <= warmup`, after that
    `lr = f + (peak - f) (1 + cos(pi (t - warmup) / (1 - warmup))) / 2`.

    Args:
      progress: t, the next step over all steps, in [0, 1].
      peak: maximum learning rate, at `t = warmup`.
      config: provides f (`lr_floor`) and `warmup`.

    Returns:
      The learning rate.
    """
    t, warmup = jnp.asarray(progress, jnp.float32), config.warmup
    rising = t / max(warmup, 1e-12)
    falling = 0.5 * (1 + jnp.cos(jnp.pi * (t - warmup) / max(1 - warmup, 1e-12)))
    shape = jnp.where(t + 1e-6 <= warmup, rising, falling)
    return config.lr_floor + (peak - config.lr_floor) * shape


def decay_mask(params: Params, undecayed: Sequence[str] = ()) -> Params:
    """Mark the parameters with weight decay: those of two or more axes that are no bias.

    As in the reference, norms, LayerScale and biases do not decay; tokens, position embedding and
    initial fast weights do. The leading axis of stacked layers does not count.

    Args:
      params: parameters or their shapes.
      undecayed: patterns of further parameters without decay.

    Returns:
      A tree of booleans.
    """

    def decays(path: tuple[Any, ...], leaf: jax.Array) -> bool:
        name = path_name(path)
        names = name.split("/")
        axes = leaf.ndim - bool(STACKED & set(names[:-1]))
        return axes > 1 and names[-1] != "bias" and not _matches(name, undecayed)

    return jax.tree_util.tree_map_with_path(decays, params)


def peak_rates(params: Params, config: OptimConfig) -> Params:
    """Return the peak learning rate of every parameter; None where frozen."""

    def rate(path: tuple[Any, ...], _: jax.Array) -> float | None:
        name = path_name(path)
        if _is_frozen(name, config):
            return None
        for pattern, peak in config.lr_groups:
            if fnmatch.fnmatchcase(name, pattern):
                return peak
        return config.lr

    return jax.tree_util.tree_map_with_path(rate, params)


def without_frozen_gradients(params: Params, config: OptimConfig) -> Params:
    """Apply `stop_gradient` to frozen parameters, so that their gradients are not computed."""

    def stopped(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        frozen = _is_frozen(path_name(path), config)
        return jax.lax.stop_gradient(leaf) if frozen else leaf

    return jax.tree_util.tree_map_with_path(stopped, params)


def _is_frozen(name: str, config: OptimConfig) -> bool:
    return _matches(name, config.frozen)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def require_matches(params: Params, config: OptimConfig) -> None:
    """Check that every pattern and module of the configuration matches a parameter.

    Raises:
      UserError: one matches nothing.
    """
    names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    patterns = {
        "lr_groups": [pattern for pattern, _ in config.lr_groups],
        "frozen": [pattern for pattern in config.frozen if pattern != MASK_TOKEN],
        "muon": config.muon,
        "undecayed": config.undecayed,
    }
    for field, field_patterns in patterns.items():
        for pattern in field_patterns:
            if not fnmatch.filter(names, pattern):
                raise UserError(
                    f"optim.{field} contains {pattern!r}, which no parameter matches: use paths "
                    f"such as {names[len(names) // 2]}"
                )
    modules = {module_of(name) for name in names}
    if unknown := {module for module, _ in config.clip_modules} - modules:
        raise UserError(
            f"optim.clip_modules contains {', '.join(sorted(unknown))}: choose from "
            f"{', '.join(sorted(modules))}"
        )
    if config.clip_modules and config.clip_by == "global":
        raise UserError(
            "optim.clip_modules needs optim.clip_by 'module', got 'global': set it, or leave "
            "clip_modules empty"
        )


def module_of(name: str) -> str:
    """Return the module of a parameter path: its head, or "aggregator" for the rest."""
    first = name.split("/")[0]
    return first if first.endswith("_head") else "aggregator"


def _clipping_unit(name: str, config: OptimConfig) -> str | None:
    """The module, or "all", whose norm clips a parameter's gradient; None where frozen."""
    if _is_frozen(name, config):
        return None
    return "all" if config.clip_by == "global" else module_of(name)


def gradient_norms(grads: Params, config: OptimConfig) -> dict[str, Float[Array, ""]]:
    """Return the L2 norm of each module's gradients, or of all as "all", without frozen ones."""
    squares: dict[str, jax.Array] = {}
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        if unit := _clipping_unit(path_name(path), config):
            squares[unit] = squares.get(unit, jnp.zeros(())) + jnp.sum(jnp.square(grad))
    return {unit: jnp.sqrt(value) for unit, value in squares.items()}


def clip_gradients(grads: Params, norms: dict[str, jax.Array], config: OptimConfig) -> Params:
    """Multiply gradients by `min(1, clip / (norm + 1e-6))` of their module; keep frozen ones."""
    if not config.clip:
        return grads

    bounds = dict(config.clip_modules)

    def clipped(path: tuple[Any, ...], grad: jax.Array) -> jax.Array:
        if (unit := _clipping_unit(path_name(path), config)) is None:
            return grad
        return grad * jnp.minimum(1.0, bounds.get(unit, config.clip) / (norms[unit] + 1e-6))

    return jax.tree_util.tree_map_with_path(clipped, grads)


def update_rule(config: OptimConfig) -> optax.GradientTransformation:
    """Return the direction of a step with decoupled decay, to which `apply_update` adds the rate.

    The direction is Adam's, or Muon's for parameters of `config.muon`: momentum with equal singular
    values, scaled to the size of Adam's updates (root mean square 0.2). The rate is separate
    because skipped steps advance it but not the moments. Frozen parameters have no moments.

    References: J. Liu et al., "Muon is scalable for LLM training" (2025).
    """
    rules: dict[Any, optax.GradientTransformation] = {
        "adam": optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
        "muon": optax.chain(
            optax.contrib.scale_by_muon(weight_dimension_numbers=_matrix_axes),
            optax.stateless(lambda updates, _: jax.tree.map(_at_size_of_adam, updates)),
        ),
        "frozen": optax.set_to_zero(),
    }
    direction = optax.partition(rules, functools.partial(_rules, config=config))
    decay = optax.add_decayed_weights(
        config.weight_decay, mask=functools.partial(decay_mask, undecayed=config.undecayed)
    )
    return optax.chain(direction, decay)


def _at_size_of_adam(update: jax.Array) -> jax.Array:
    """Scale an update of nearly orthogonal matrices to a root mean square of 0.2."""
    return update * (0.2 / (jnp.sqrt(jnp.mean(jnp.square(update))) + 1e-12))


def _rules(params: Params, config: OptimConfig) -> Params:
    """The rule of every parameter: "frozen", "muon" where a pattern names it, else "adam"."""

    def rule(path: tuple[Any, ...], _: jax.Array) -> str:
        name = path_name(path)
        if _is_frozen(name, config):
            return "frozen"
        return "muon" if _matches(name, config.muon) else "adam"

    return jax.tree_util.tree_map_with_path(rule, params)


def _matrix_axes(params: Params) -> Params:
    """Input and output axes of matrices: the last two; of convolutions, all others and the last.

    Earlier axes are layers or heads.
    """

    def axes(path: tuple[Any, ...], leaf: jax.Array) -> optax.contrib.MuonDimensionNumbers:
        convolution = leaf.ndim == 4 and path_name(path).endswith("kernel")
        inputs = (0, 1, 2) if convolution else (leaf.ndim - 2,)
        return optax.contrib.MuonDimensionNumbers(inputs, leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)


def apply_update(
    params: Params, direction: Params, progress: Float[Array, ""], config: OptimConfig
) -> Params:
    """Compute `theta - lr * direction` with each parameter's own rate; frozen ones stay."""

    def moved(param: jax.Array, step: jax.Array, peak: float | None) -> jax.Array:
        return param if peak is None else param - learning_rate(progress, peak, config) * step

    # `None` marks frozen leaves; by default JAX treats it as an empty subtree.
    leaves, structure = jax.tree.flatten(params)
    peaks = jax.tree.leaves(peak_rates(params, config), is_leaf=lambda leaf: leaf is None)
    steps = structure.flatten_up_to(direction)
    return structure.unflatten([moved(*item) for item in zip(leaves, steps, peaks, strict=True)])
