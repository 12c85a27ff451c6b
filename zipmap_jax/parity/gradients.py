"""Comparison of gradients, of the fast-weight layer and of the whole model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import newton_schulz
from zipmap_jax.convert.identify import to_torch
from zipmap_jax.convert.rules import to_state
from zipmap_jax.geometry import encode_pose, homogeneous
from zipmap_jax.losses import LossConfig, total_loss
from zipmap_jax.losses.target import Target
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.fast_weights import FastWeights
from zipmap_jax.nn.layers import apply
from zipmap_jax.parity.end_to_end import model_config, synthetic_params
from zipmap_jax.parity.fast_weights import layer, layer_weights, run, table
from zipmap_jax.parity.losses import detailed_depth
from zipmap_jax.parity.report import TensorComparison, Tolerance, compare
from zipmap_jax.parity.synthetic import digest, inputs
from zipmap_jax.parity.units import rule_inputs
from zipmap_jax.structs import Views

Arrays = Mapping[str, np.ndarray]
LAYER = Tolerance(2e-4, "rms")
# Updates are invariant to scale, so the gradient of the learning-rate bias nearly cancels.
BIAS = Tolerance(1e-2, "rms")
LOSS = 1e-5


def check_fast_weight_gradients(arrays: Arrays, meta: Mapping[str, Any]) -> list[TensorComparison]:
    """Compares the gradient of sum(output * R) of the layer and of Newton-Schulz; a `Checker`.

    The gradient is with respect to the input, the parameters and the carried state.
    """
    tensors = rule_inputs(meta)
    rows = []
    for name, config in meta["config"].items():
        for case in ("offline", "win2", "query", "cont"):
            rows += _layer_rows(arrays, f"{name}.{case}", config, tensors)
    return rows + _newton_schulz_rows(arrays)


def _layer_rows(
    arrays: Arrays, stem: str, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> list[TensorComparison]:
    keys = [k for k in arrays if k.startswith(f"{stem}.") and ".in." not in k]
    if not keys:
        return []
    module, params = layer(config), layer_weights(config)
    name, case = stem.split(".")
    p = config["tokens_per_frame"]
    x, r = jnp.asarray(tensors[f"{name}.x"]), jnp.asarray(tensors[f"{name}.R"])
    schedule: dict[str, Any] = {
        "offline": dict(window=None),
        "win2": dict(window=2 * p),
        "query": dict(window=None, updating=3 * p),
        "cont": dict(window=p),
    }[case]
    state = None
    if case == "cont":
        x, r = x[:, 3 * p :], r[:, 3 * p :]
        carried = [arrays[f"{stem}.in.state_{w}"] for w in ("w0", "w1", "w2")]
        shaped = [jnp.asarray(w).reshape(x.shape[0], -1, *w.shape[-2:]) for w in carried]
        state = FastWeights(*shaped)

    def loss(params: Any, x: Any, state: Any) -> tuple[jax.Array, jax.Array]:
        start = state or apply(module, params, x.shape[0], method="initial")
        y, _ = run(module, params, x, start, **schedule)
        return jnp.sum(y * r), jnp.sum(jnp.abs(y * r))

    arguments = (0, 1) if state is None else (0, 1, 2)
    (value, scale), grads = jax.jit(jax.value_and_grad(loss, arguments, has_aux=True))(
        params, x, state
    )
    gradients = {"grad.x": grads[1]}
    gradients |= {f"grad.{k}": v for k, v in to_state(grads[0], table(module)).items()}
    if state is not None:
        for w, g in zip(("w0", "w1", "w2"), grads[2], strict=True):
            gradients[f"grad.state_{w}"] = g.reshape(-1, *g.shape[-2:])
    rows = []
    for key in keys:
        what = key.removeprefix(f"{stem}.")
        if what == "loss":
            rows.append(_loss_row(key, value, arrays[key], scale))
            continue
        tensor, part = what, ""
        if tensor not in gradients:
            tensor, _, part = what.rpartition(".")
        actual = np.asarray(gradients[tensor])
        actual = digest(actual, "grad")[part] if part else actual
        tolerance = BIAS if tensor.endswith("lr_fc.bias") else LAYER
        rows.append(compare(key, actual, arrays[key], tolerance))
    return rows


def _newton_schulz_rows(arrays: Arrays) -> list[TensorComparison]:
    rows = []
    for key in [k for k in arrays if k.startswith("ns.") and ".grad" in k]:
        case = key.split(".")[1]
        source = arrays[f"in.{case}"]
        r = inputs(f"ns_grad.{case}.R", source.shape)
        grad = jax.jit(jax.grad(lambda x, r=r: jnp.sum(newton_schulz(x) * r)))(source)
        rows.append(compare(key, np.asarray(grad), arrays[key], LAYER))
    return rows


def _loss_row(key: str, value: Any, recorded: np.ndarray, scale: Any) -> TensorComparison:
    """Compares a loss; the error is relative to the sum of magnitudes, since the sum may cancel."""
    row = compare(key, np.asarray(value), recorded, Tolerance(LOSS))
    return dataclasses.replace(row, error=row.maximum / float(scale))


def check_model_gradients(arrays: Arrays, meta: Mapping[str, Any]) -> list[TensorComparison]:
    """Compares norms and projections of all gradients of the whole small model; a `Checker`."""
    rows = []
    for case in [k.removesuffix(".loss") for k in arrays if k.endswith(".loss")]:
        config = _case_config(case, meta["config"])
        seed = meta["config"]["streaming" if "streaming" in case else "offline"]["weight_seed"]
        rows += _model_rows(arrays, case, config, seed)
    return rows


def _case_config(case: str, config: Mapping[str, Any]) -> ZipMapConfig:
    base = dict(config["streaming" if "streaming" in case else "offline"])
    base.setdefault("affine_invariant", "aff0" not in case)
    return model_config(base)


def _model_rows(
    arrays: Arrays, case: str, config: ZipMapConfig, seed: int
) -> list[TensorComparison]:
    model, params = ZipMap(config), synthetic_params(config, seed)
    images = np.moveaxis(arrays[f"{case}.in.images_u8"], 2, -1).astype(np.float32) / 255
    poses = "pose_enc_mlp_list" if config.camera.kind == "mlp" else "pose_enc_list"

    def loss(params: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        state = model.init_state(params, images.shape[0])
        _, prediction, taps = model.forward(
            params, state, Views(jnp.asarray(images)), keep_taps=True
        )
        if case == "stage3_loss":
            return total_loss(prediction, _target(arrays, case), LossConfig(camera_kind="pairwise"))
        outputs = {
            poses: prediction.pose_enc,
            "taps": taps,
            "depth": prediction.depth[..., None],
            "depth_conf": prediction.depth_conf,
            "local_points": prediction.local_points,
        }
        terms = {
            k: jnp.mean(v * inputs(f"e2e_grad.R.{k}", v.shape))
            for k, v in outputs.items()
            if f"{case}.term.{k}" in arrays
        }
        return sum(terms.values(), jnp.zeros(())), terms

    (value, terms), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    scale = sum(abs(float(v)) for v in terms.values()) if case != "stage3_loss" else 1.0
    rows = [_loss_row(f"{case}.loss", value, arrays[f"{case}.loss"], scale)]
    for key in [k for k in arrays if k.startswith(f"{case}.term.")]:
        rows.append(_loss_row(key, terms[key.split(".term.")[1]], arrays[key], scale))
    return rows + _parameter_rows(arrays, case, to_torch(grads, config))


def _target(arrays: Arrays, case: str) -> Target:
    batch = {k: arrays[f"{case}.in.batch.{k}"] for k in ("extrinsics", "intrinsics")}
    w2c = homogeneous(jnp.asarray(batch["extrinsics"]))
    intrinsics = jnp.asarray(batch["intrinsics"])
    height, width = (int(s) for s in arrays[f"{case}.in.batch.image_hw"])
    return Target(
        w2c=w2c,
        intrinsics=intrinsics,
        pose_enc=encode_pose(w2c, intrinsics, (height, width)),
        depth=jnp.asarray(arrays[f"{case}.in.batch.depths"]),
        cam_points=jnp.asarray(arrays[f"{case}.in.batch.cam_points"]),
        mask=jnp.asarray(arrays[f"{case}.in.batch.point_masks"]),
        detailed=jnp.asarray(detailed_depth(arrays[f"{case}.in.batch.dataset_name"])),
    )


def _parameter_rows(
    arrays: Arrays, case: str, grads: Mapping[str, np.ndarray]
) -> list[TensorComparison]:
    names = arrays["param_names." + ("streaming" if "streaming" in case else "offline")]
    smooth = "smooth" in case
    norms = np.array([np.linalg.norm(grads[n].astype(np.float64)) for n in names])
    dots = np.array(
        [np.sum(grads[n].astype(np.float64) * inputs(f"gdot:{n}", grads[n].shape)) for n in names]
    )
    recorded = arrays[f"{case}.param_grad_norm"]
    # Gradients below 1e-4 of the total are dominated by rounding and left out.
    kept = recorded > 1e-4 * np.sqrt(np.sum(recorded.astype(np.float64) ** 2))
    key, bounds = f"{case}.param_grad_dot", (1e-3, 3e-3) if smooth else (1e-2, 5e-2)
    rows = [
        _worst(f"{case}.param_grad_norm", norms, recorded, recorded, kept, bounds[0]),
        _worst(key, dots, arrays[key], recorded, kept, bounds[1]),
    ]
    modules = arrays[f"{case}.module_names"]
    inside = [[n == m or n.startswith(f"{m}.") for n in names] for m in modules]
    total = np.array([np.linalg.norm(norms[np.array(mask)]) for mask in inside])
    recorded = arrays[f"{case}.module_grad_norm"]
    kept = recorded > 0
    bound = 1e-4 if smooth else 2e-3
    return [*rows, _worst(f"{case}.module_grad_norm", total, recorded, recorded, kept, bound)]


def _worst(
    key: str,
    actual: np.ndarray,
    recorded: np.ndarray,
    scale: np.ndarray,
    kept: np.ndarray,
    bound: float,
) -> TensorComparison:
    """Compares arrays by the largest error of an entry relative to its own scale."""
    row = compare(key, actual, recorded, Tolerance(bound))
    error = np.abs(actual - recorded)[kept] / scale[kept]
    return dataclasses.replace(row, error=float(error.max(initial=0.0)))
