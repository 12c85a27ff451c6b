"""Comparison of the test-time-training layer for all schedules."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.convert.rules import Rule, from_state
from zipmap_jax.models.global_block import GlobalBlock
from zipmap_jax.models.presets import preset
from zipmap_jax.nn.config import FP32
from zipmap_jax.nn.fast_weights import FastWeightLayer, FastWeights, column_norms, step
from zipmap_jax.nn.layers import apply
from zipmap_jax.parity.report import TensorComparison, Tolerance, compare
from zipmap_jax.parity.synthetic import StateDict, digest
from zipmap_jax.parity.units import layer_params, rule_inputs

OUTPUTS = Tolerance(1e-4)
# Short sequences have rank-deficient gradients, for which Newton-Schulz in bf16 returns noise. Only
# the long case is therefore compared, and only norms of the states are recorded.
BF16 = Tolerance(0.15, "rms")
Meta = Mapping[str, Any]


def layer(config: Mapping[str, Any]) -> FastWeightLayer:
    """The layer of a file.

    Args:
      config: configuration of the layer.

    Returns:
      The module.
    """
    t = config["ttt_params"]
    return FastWeightLayer(
        config["dim"],
        config["dim"] // t["head_dim"],
        t["inter_multi"],
        t["base_lr"],
        t["use_gate_fn"],
        t["bias"],
    )


def table(module: FastWeightLayer) -> list[Rule]:
    """Rule table of a single layer, whose leaves are at the root of the tree.

    Args:
      module: the layer.

    Returns:
      The rules.
    """
    d, c = module.head_dim, module.width
    m = module.hidden_multiple * d
    linear = [
        ("to_qkv", "to_qkv", 3 * c),
        ("c_proj", "c_proj", c),
        ("lr_fc", "lr_fc", 3 * module.heads),
    ]
    if module.use_gate:
        linear.append(("gate_fn.0", "gate", c))
    out = [
        Rule(name, name, (module.heads, *shape))
        for name, shape in (("w0", (d, m)), ("w1", (m, d)), ("w2", (d, m)))
    ]
    for torch, ours, width in linear:
        out += [
            Rule(f"{torch}.weight", f"{ours}/kernel", (width, c), "linear"),
            Rule(f"{torch}.bias", f"{ours}/bias", (width,)),
        ]
    return [*out, Rule("o_norm.weight", "o_norm/scale", (d,))]


def layer_weights(config: Mapping[str, Any]) -> Any:
    """Synthetic parameters of the layer of a file.

    Args:
      config: configuration of the layer.

    Returns:
      The parameter tree.
    """
    entries = table(layer(config))
    shapes = {rule.torch: rule.shape for rule in entries}
    return from_state(StateDict(shapes, config.get("seed", 0), config["prefix"]), entries)


def run(
    module: FastWeightLayer,
    params: Any,
    x: jax.Array,
    weights: FastWeights,
    *,
    window: int | None,
    updating: int | None = None,
    precision: str = "fp32",
) -> tuple[jax.Array, FastWeights]:
    """Updates the fast weights and reads from them, window by window.

    Args:
      module: the layer.
      params: its parameters.
      x: tokens, [b, n, c].
      weights: fast weights before the first window.
      window: tokens per update; None = one update on all tokens, 0 = no update.
      updating: number of tokens that contribute to an update; None = all of its window.
      precision: precision of Newton-Schulz.

    Returns:
      Outputs of all tokens, and the last fast weights.
    """
    call = functools.partial(apply, module, params)
    if window == 0:
        return call(x, weights, method="read"), weights
    norms = column_norms(weights)
    outputs = []
    for start in range(0, x.shape[1], window or x.shape[1]):
        part = x[:, start : start + (window or x.shape[1])]
        gradients = call(part[:, :updating], weights, method="gradients")
        weights = step(weights, gradients, norms, precision=precision)
        outputs.append(call(part, weights, method="read"))
    return jnp.concatenate(outputs, 1), weights


def cases(
    module: FastWeightLayer, params: Any, tokens: Mapping[str, Any], p: int, precision: str
) -> dict[str, tuple[jax.Array, FastWeights]]:
    """Runs all recorded schedules.

    Args:
      module: the layer.
      params: its parameters.
      tokens: inputs "in.x" and "in.x2".
      p: tokens per view.
      precision: precision of Newton-Schulz.

    Returns:
      Outputs and states by schedule.
    """
    go = jax.jit(
        functools.partial(run, module, precision=precision),
        static_argnames=("window", "updating"),
    )
    x, x2 = tokens["in.x"], tokens["in.x2"]
    initial = apply(module, params, x.shape[0], method="initial")
    out = {
        "offline": go(params, x, initial, window=None),
        "win1": go(params, x, initial, window=p),
        "win2": go(params, x, initial, window=2 * p),
        "query": go(params, x, initial, window=None, updating=3 * p),
        "apply_init": go(params, x, initial, window=0),
        "cont_a": go(params, x[:, : 3 * p], initial, window=2 * p),
    }
    out["cont_b"] = go(params, x[:, 3 * p :], out["cont_a"][1], window=2 * p)
    out["apply_state"] = go(params, x2, out["offline"][1], window=0)
    return out


def check_fast_weights(arrays: Mapping[str, np.ndarray], meta: Meta) -> list[TensorComparison]:
    """Compares all schedules, in fp32 and, for long sequences, in bf16; a `Checker`."""
    config = meta["config"]
    module, params = layer(config), layer_weights(config)
    tokens = rule_inputs(meta)
    rows = []
    x = jnp.asarray(tokens["in.x"])
    k, v, eta = apply(module, params, x, method="keys")
    q = apply(module, params, x, method="queries")
    parts = {"q": q, "k": k, "v": v, **{f"lr{i}": eta[i][..., None] for i in range(3)}}
    for name, value in parts.items():
        if f"mid.{name}" in arrays:
            merged = np.asarray(value).reshape(-1, *value.shape[2:])
            rows.append(compare(f"mid.{name}", merged, arrays[f"mid.{name}"], OUTPUTS))
    long = config["tokens_per_frame"] > config["dim"] // 4
    for flavour in ("fp32", "bf16") if long else ("fp32",):
        results = cases(module, params, tokens, config["tokens_per_frame"], flavour)
        tolerance = OUTPUTS if flavour == "fp32" else BF16
        for key in [k for k in arrays if k.startswith(flavour)]:
            _, case, what, *path = key.split(".")
            if case == "block_offline":
                continue
            actual = _pick(results[case], what, path, arrays[key])
            rows.append(compare(key, actual, arrays[key], tolerance))
    if "fp32.block_offline.out" in arrays:
        rows += _block_rows(arrays, config, x)
    return rows


def _pick(
    result: tuple[jax.Array, FastWeights],
    what: str,
    path: list[str],
    recorded: np.ndarray,
) -> np.ndarray:
    """The output or the matrix of a result, subsampled as the recorded array."""
    if what == "out":
        y = np.asarray(result[0])
        return y if y.shape == recorded.shape else y[:, ::15, ::3]
    w = np.asarray(getattr(result[1], path[0]))
    merged = w.reshape(-1, *w.shape[-2:])
    return digest(merged, f"ttt.{path[0]}")[path[1]] if path[1:] else merged


def _block_rows(
    arrays: Mapping[str, np.ndarray], config: Mapping[str, Any], x: Any
) -> list[TensorComparison]:
    """Compares a whole global block, offline."""
    block = GlobalBlock(preset("small"), FP32)
    params = layer_params(config["prefix"].removesuffix("ttt_block."), config["seed"])
    weights = apply(layer(config), params["ttt"], x.shape[0], method="initial")
    gradients = apply(block, params, x, weights, method="gradients")
    state = step(weights, gradients, column_norms(weights))
    y = apply(block, params, x, state, method="read")
    stem = "fp32.block_offline"
    rows = [compare(f"{stem}.out", np.asarray(y), arrays[f"{stem}.out"], OUTPUTS)]
    for name, w in zip(("w0", "w1", "w2"), state, strict=True):
        key = f"{stem}.state_{name}.fro"
        norm = np.linalg.norm(np.asarray(w).reshape(w.shape[0], -1), axis=-1)
        rows.append(compare(key, norm, arrays[key], OUTPUTS))
    return rows
