"""Comparison of whole models: offline, streaming with carried state, and state queries."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.convert.identify import expected_shapes, from_torch
from zipmap_jax.models.config import Variant, ZipMapConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.models.state import SceneState
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import FP32, Policy
from zipmap_jax.parity.report import TensorComparison, Tolerance, compare, thin
from zipmap_jax.parity.synthetic import StateDict, digest
from zipmap_jax.structs import HeadOutputs, Views

# The largest fp32 noise of the reference itself is 1.2e-5 on outputs and 4.7e-5 on states.
OUTPUTS = Tolerance(5e-5)
STATES = Tolerance(3e-4)
_LAYERS = (0, 23)
Arrays = Mapping[str, np.ndarray]


def model_config(config: Mapping[str, Any]) -> ZipMapConfig:
    """Configuration of the model of a file.

    Args:
      config: entry `config` of the file's configuration.

    Returns:
      A preset with the file's variant and window.
    """
    names: dict[str, Variant] = {"streaming": "streaming", "state_query": "state_query"}
    base = preset(str(config["size"]).split()[0], names.get(config["variant"], "offline"))
    return dataclasses.replace(
        base, affine_invariant=bool(config["affine_invariant"]), window=config.get("window_size")
    )


@functools.lru_cache(maxsize=1)
def _params(size: str, variant: Variant, seed: int) -> Any:
    config = preset(size, variant)
    state = StateDict(expected_shapes(config), seed)
    return jax.tree.map(jnp.asarray, from_torch(state, config))


def synthetic_params(config: ZipMapConfig, seed: int) -> Any:
    """Synthetic parameters of a model, of which the last ones are cached.

    Args:
      config: configuration of a preset.
      seed: seed of the weights.

    Returns:
      The parameter tree.
    """
    variant: Variant = "offline" if config.variant == "ref_view" else config.variant
    return _params(config.preset, variant, seed)


def check_end_to_end(arrays: Arrays, meta: Mapping[str, Any]) -> list[TensorComparison]:
    """Compares all recorded outputs and states of a whole model; a `Checker`."""
    config = model_config(meta["config"])
    params = synthetic_params(config, meta["config"]["weight_seed"])
    rows = []
    for flavour in ("fp32", "bf16"):
        recorded = {k: v for k, v in arrays.items() if k.startswith(flavour + ".")}
        if not recorded:
            continue
        policy = dataclasses.replace(FP32, newton_schulz=flavour)
        outputs = _run(ZipMap(config, policy), params, arrays, meta["config"])
        for key, value in recorded.items():
            name = key.removeprefix(flavour + ".")
            actual = thin(outputs[name], value.shape, range(2, value.ndim))
            rows.append(compare(key, actual, value, _tolerance(flavour, name, meta)))
    return rows


def check_in_format(
    policy: Policy, arrays: Arrays, meta: Mapping[str, Any]
) -> list[TensorComparison]:
    """Compares a model in other number formats with the outputs recorded in fp32.

    The tolerance is infinite, so that only NaN fails: 16-bit results differ between any two
    implementations, see `_tolerance`.

    Args:
      policy: number formats of the model.
      arrays: recorded arrays.
      meta: configuration of the file.

    Returns:
      One row per tensor recorded in fp32.
    """
    config = model_config(meta["config"])
    params = synthetic_params(config, meta["config"]["weight_seed"])
    outputs = _run(ZipMap(config, policy), params, arrays, meta["config"])
    rows = []
    for key, value in arrays.items():
        if key.startswith("fp32."):
            actual = thin(outputs[key.removeprefix("fp32.")], value.shape, range(2, value.ndim))
            rows.append(compare(key, actual, value, Tolerance(float("inf"), "rms")))
    return rows


def _tolerance(flavour: str, name: str, meta: Mapping[str, Any]) -> Tolerance:
    if flavour == "bf16":
        # Newton-Schulz in bf16 amplifies rounding noise, so implementations differ. The tolerance
        # is three times the effect of a 1e-6 change of the input on the reference itself, or 0.15
        # if that was not recorded.
        evidence = meta.get("evidence", {}).get("bf16_input_1e_6_vs_bf16", {})
        noise = evidence.get(name, {}).get("rms")
        return Tolerance(3 * noise if noise else 0.15, "rms")
    return STATES if ".w" in name else OUTPUTS


def _run(model: ZipMap, params: Any, arrays: Arrays, config: Mapping[str, Any]) -> dict[str, Any]:
    images = np.moveaxis(arrays["in.images_u8"], 2, -1).astype(np.float32) / 255
    state = model.init_state(params, images.shape[0])
    update = jax.jit(functools.partial(model.forward, keep_taps=True))
    split = config.get("first_call_views")
    if split:
        outputs = {}
        for call, part in (("call1.", images[:, :split]), ("call2.", images[:, split:])):
            state, prediction, taps = update(params, state, Views(jnp.asarray(part)))
            named = _named(model, params, part, prediction, taps, state)
            outputs |= {call + key: value for key, value in named.items()}
        return outputs
    state, prediction, taps = update(params, state, Views(jnp.asarray(images)))
    if "in.ray_conditions" not in arrays:
        return _named(model, params, images, prediction, taps, state)
    rays = np.moveaxis(arrays["in.ray_conditions"], 2, -1)
    queried, query_taps = jax.jit(functools.partial(model.forward_rays, keep_taps=True))(
        params, state, rays
    )
    render = {
        "nvs_pred": np.concatenate([queried.rgb, queried.depth[..., None]], -1),
        "nvs_depth_conf": np.asarray(queried.depth_conf),
    }
    # A joint forward pass of the reference equals `update` followed by `read`, because queries do
    # not change the state.
    both = np.concatenate([taps, query_taps], 2)
    outputs = _named(model, params, images, prediction, both, state) | render
    outputs |= {"zip." + key: value for key, value in outputs.items()}
    return outputs | {"render." + key: value for key, value in render.items()}


def _named(
    model: ZipMap,
    params: Any,
    images: np.ndarray,
    prediction: HeadOutputs,
    taps: Any,
    state: SceneState,
) -> dict[str, np.ndarray]:
    """Outputs and intermediate tensors, with the names and shapes of the file format."""
    poses = "pose_enc_mlp_list" if model.config.camera.kind == "mlp" else "pose_enc_list"
    flat = images.reshape(-1, *images.shape[2:])
    patches = jax.jit(model.first_tokens.embedder.__call__)(params["embedder"], flat)
    taps = np.asarray(taps)
    outputs = {
        poses: prediction.pose_enc,
        "depth": prediction.depth[..., None],
        "depth_conf": prediction.depth_conf,
        "local_points": prediction.local_points,
        "patch_tokens": patches[..., ::2],
        "taps.mean": taps.mean(axis=(-2, -1), dtype=np.float64),
        "taps.std": taps.astype(np.float64).std(axis=(-2, -1), ddof=1),
        "taps.slice": taps[..., ::4, ::16],
    }
    for layer in _LAYERS:
        for name, w in zip(("w0", "w1", "w2"), state.weights, strict=True):
            if layer < w.shape[0]:
                merged = np.asarray(w[layer]).reshape(-1, *w.shape[-2:])
                for key, value in digest(merged, f"ttt.{name}").items():
                    outputs[f"state{layer}.{name}.{key}"] = value
    return {key: np.asarray(value) for key, value in outputs.items()}
