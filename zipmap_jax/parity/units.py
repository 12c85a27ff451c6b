"""Comparison of single modules; every public `check_` function is a `Checker`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import newton_schulz
from zipmap_jax.convert.identify import expected_shapes
from zipmap_jax.convert.rules import from_state
from zipmap_jax.convert.table import rules
from zipmap_jax.models.dense_heads import HEADS
from zipmap_jax.models.fast_weight_backbone import FastWeightBackbone
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.activations import activate
from zipmap_jax.nn.camera_head import MlpCameraHead, activate_pose
from zipmap_jax.nn.config import FP32
from zipmap_jax.nn.dpt import DenseHead, add_position, position_grid
from zipmap_jax.nn.layers import apply
from zipmap_jax.nn.rope import apply_rope, rope_tables
from zipmap_jax.parity.report import TensorComparison, Tolerance, compare
from zipmap_jax.parity.synthetic import StateDict, digest, inputs

Arrays = Mapping[str, np.ndarray]
Meta = Mapping[str, Any]

EXACT = Tolerance(1e-5)
DENSE = Tolerance(2e-5)
NEWTON_SCHULZ = Tolerance(2e-5)
LOW_RANK = Tolerance(2e-4)
BF16 = Tolerance(0.15, "rms")


def rule_inputs(meta: Meta) -> dict[str, np.ndarray]:
    """Inputs that a file specifies by rule instead of storing them.

    Args:
      meta: configuration of the file.

    Returns:
      Inputs by name.
    """
    return {
        entry["name"]: inputs(entry["tag"], tuple(entry["shape"]), entry["seed"], entry["scale"])
        for entry in meta.get("inputs_by_rule", ())
    }


def module_params(prefix: str, seed: int, variant: str = "offline") -> Any:
    """Synthetic parameters of a part of the small model.

    Args:
      prefix: beginning of the state-dict names of the part.
      seed: seed of the weights.
      variant: variant of the model.

    Returns:
      The parameter tree, with the paths of the whole model.
    """
    config = preset("small", variant)  # type: ignore[arg-type]
    table = [rule for rule in rules(config) if rule.torch.startswith(prefix)]
    shapes = {k: s for k, s in expected_shapes(config).items() if k.startswith(prefix)}
    return from_state(StateDict(shapes, seed), table)


def layer_params(prefix: str, seed: int) -> Any:
    """Synthetic parameters of one block of the small model, without its layer axis.

    Args:
      prefix: beginning of its state-dict names, `aggregator.<blocks>.<i>.`.
      seed: seed of the weights.

    Returns:
      The parameter tree of the block.
    """
    _, blocks, index, _ = prefix.split(".", 3)
    stem = f"aggregator.{blocks}."
    config = preset("small")
    table = [
        dataclasses.replace(rule, torch=rule.torch.replace("{i}", index), layers=None)
        for rule in rules(config)
        if rule.torch.startswith(stem)
    ]
    shapes = {rule.torch: rule.shape for rule in table}
    return from_state(StateDict(shapes, seed), table)[blocks]


def with_intermediates(module: nn.Module, params: Any, *args: Any) -> tuple[Any, dict[str, Any]]:
    """Output of a module, and the outputs of its submodules.

    Args:
      module: the module.
      params: its parameters.
      *args: arguments of the module.

    Returns:
      The output, and the collection of intermediates.
    """
    y, collections = module.apply({"params": params}, *args, capture_intermediates=True)
    return y, dict(collections["intermediates"])


def check_rope(arrays: Arrays, meta: Meta) -> list[TensorComparison]:
    """Compares the rotary embedding of [b, heads, tokens, d] at recorded positions."""
    rows = []
    for case in ("grid", "random"):
        tables = rope_tables(arrays[f"in.pos_{case}"], arrays["in.tokens"].shape[-1], 100.0)
        cos, sin = (jnp.asarray(table)[:, None] for table in tables)
        y = apply_rope(jnp.asarray(arrays["in.tokens"]), cos, sin)
        rows.append(_row(f"out.{case}", y, arrays, EXACT))
    return rows


def check_frame_block(arrays: Arrays, meta: Meta) -> list[TensorComparison]:
    """Compares a frame block, its first norm and its attention."""
    config = preset("small")
    block = FastWeightBackbone(config, FP32).frame_block
    params = layer_params(meta["config"]["prefix"], meta["config"]["seed"])
    rope = rope_tables(arrays["in.pos"][0], config.width // config.heads, config.rope_base)
    rows = []
    for case in ("", "small_"):
        x = jnp.asarray(arrays["in.x_small" if case else "in.x"])
        y, inner = with_intermediates(block, params, x, rope)
        named = {
            "norm1": inner["norm1"]["__call__"][0],
            "attn": inner["attn"]["__call__"][0],
            "block": y,
        }
        rows += [_row(f"out.{case}{k}", v, arrays, EXACT) for k, v in named.items()]
    return rows


def check_dino(arrays: Arrays, meta: Meta) -> list[TensorComparison]:
    """Compares the image embedder on normalised images."""
    config = preset("small").embedder
    model = ZipMap(preset("small")).first_tokens.embedder
    params = module_params(meta["config"]["prefix"], meta["config"]["seed"])["embedder"]
    tensors = rule_inputs(meta)
    rows = []
    for size in ("56x84", "98x70", "518x518"):
        images = jnp.moveaxis(tensors[f"in.{size}"], 1, -1)
        tokens = np.asarray(jax.jit(model.embed_normalised)(params, images))
        patches = tokens[:, 1 + config.registers :]
        if size == "518x518":
            patches = patches[:, ::37, ::4]
        named: dict[str, Any] = {
            f"out.{size}.patch_tokens": patches,
            f"out.{size}.cls": tokens[:, 0],
            f"out.{size}.registers": tokens[:, 1 : 1 + config.registers],
        }
        if f"out.{size}.pos_embed" in arrays:
            height, width = images.shape[1:3]
            named[f"out.{size}.pos_embed"] = model.position_embedding(params, height, width)
            named[f"out.{size}.embedded"] = model.with_special_tokens(params, images)[..., ::4]
        rows += [_row(name, value, arrays, EXACT) for name, value in named.items()]
    first = jax.tree.map(lambda leaf: leaf[0], params["blocks"])
    y = apply(model.block, first, tensors["in.block0_small"])
    rows.append(_row("out.block0_small", y, arrays, EXACT))
    for size in ("560x532", "350x742", "14x28"):
        height, width = map(int, size.split("x"))
        name = f"out.{size}.pos_embed_slice"
        y = model.position_embedding(params, height, width)
        y = y if size == "14x28" else y[:, ::19, ::8]
        rows.append(_row(name, y, arrays, EXACT))
    return rows


def check_ray_embed(arrays: Arrays, meta: Meta) -> list[TensorComparison]:
    """Compares the patch projection of ray conditions."""
    model = ZipMap(preset("small", "state_query"))
    prefix, seed = meta["config"]["prefix"], meta["config"]["seed"]
    params = module_params(prefix, seed, "state_query")["ray_embed"]
    tensors = rule_inputs(meta)
    return [
        _row(
            f"out.{case}",
            apply(
                model.first_tokens.ray_embedder, params, jnp.moveaxis(tensors[f"in.{case}"], 1, -1)
            ),
            arrays,
            EXACT,
        )
        for case in ("unit", "small")
    ]


def check_newton_schulz(arrays: Arrays, meta: Meta) -> list[TensorComparison]:
    """Compares the orthogonalisation in fp32 and, with a wide tolerance, in bf16."""
    matrices = {k.removeprefix("in."): jnp.asarray(v) for k, v in arrays.items() if k[:3] == "in."}
    a = inputs("ns.large_a", (1, 384, 600))
    matrices["large"] = jnp.matmul(a, inputs("ns.large_b", (1, 600, 768)), precision="highest")
    rows = []
    for key, recorded in arrays.items():
        flavour, _, case = key.partition(".out.")
        if not case:
            continue
        name, _, part = case.partition(".")
        name, _, steps = name.partition("_steps")
        precision: Any = flavour
        y = newton_schulz(matrices[name], steps=int(steps or 5), precision=precision)
        if part:
            y = digest(np.asarray(y), f"ns.{name}")[part]
        tolerance = LOW_RANK if name == "lowrank" else NEWTON_SCHULZ
        if flavour == "bf16":
            if name == "lowrank":
                continue  # the noise in the directions without signal dominates
            tolerance = BF16
        rows.append(compare(key, np.asarray(y), recorded, tolerance))
    return rows


def check_camera_heads(arrays: Arrays, meta: Meta) -> list[TensorComparison]:
    """Compares the iterative and the MLP camera head; no model with the SVD variant is released."""
    tensors = rule_inputs(meta)
    head = ZipMap(preset("small")).cameras.head
    params = module_params("camera_head.", meta["config"]["seed"])["camera_head"]
    rows = []
    for case in ("s4", "s1", "s2_small"):
        y = jax.jit(head.__call__)(params, jnp.asarray(tensors[f"pose.{case}"][:, :, 0]))
        rows.append(_row(f"out.pose.{case}.pose_enc_list", y, arrays, EXACT))
    config = preset("small", "streaming")
    mlp = MlpCameraHead(config.camera, 2 * config.width, FP32)
    seed = meta["config"]["seed"]
    params = module_params("camera_mlp_head.", seed, "streaming")["camera_mlp_head"]
    for case in ("x1", "x8"):
        y = mlp(params, jnp.asarray(tensors[f"mlp.{case}"]))[0]
        rows.append(_row(f"out.mlp.{case}.pose_enc", y, arrays, EXACT))
    return rows


def check_dense_heads(arrays: Arrays, meta: Meta) -> list[TensorComparison]:
    """Compares the dense heads, their activations, intermediates and position embeddings."""
    tensors = rule_inputs(meta)
    rows = []
    for key in [k for k in arrays if k.endswith(".pred")]:
        head, size = key.removeprefix("out.").removesuffix(".pred").split(".")
        grid = tuple(int(s) // 14 for s in size.removesuffix("_small").split("x"))
        taps = [tensors[f"{size}.tap{j}"][0, :, 5:] for j in range(4)]
        (values, confidence), inner = _dense_head(head, meta, taps, grid)
        rows.append(_row(key, values[None], arrays, DENSE))
        if confidence is not None:
            rows.append(_row(key.replace("pred", "conf"), confidence[None], arrays, DENSE))
        stem = f"out.{head}.{size}.mid."
        for name in [k for k in arrays if k.startswith(stem)]:
            y = inner[name.removeprefix(stem)][:1, ::2, ::2, ::16]
            rows.append(_row(name, jnp.moveaxis(y, -1, 1), arrays, DENSE))
    for name, channels in (("5x7", 256), ("4x6", 1024)):
        height, width = map(int, name.split("x"))
        by_col, by_row = position_grid(channels, height, width, width / height)
        shape = (height, width, channels // 2)
        halves = (jnp.broadcast_to(by_col[None], shape), jnp.broadcast_to(by_row[:, None], shape))
        y = jnp.concatenate(halves, -1)[..., ::4] / 0.1
        rows.append(_row(f"out.uv_embed.{name}", y, arrays, EXACT))
    return rows


def _dense_head(head: str, meta: Meta, taps: list[Any], grid: Any) -> tuple[Any, dict[str, Any]]:
    """Outputs of one dense head, and its intermediates with the names of the file."""
    prefix = meta["config"]["prefixes"][head]
    trained, names = {
        "depth": ("depth_head", ("exp", "expp1")),
        "local_points": ("local_point_head", ("xy_exp", None)),
        "nvs_rgbd": ("nvs_head", ("sigmoid_exp", "expp1")),
        "nvs_rgb": ("local_point_head", ("sigmoid", None)),
    }[head]
    config = preset("small", "state_query")
    # Heads of equal shape have the same table, apart from the names of the weights.
    table = [r for r in rules(config) if r.torch.startswith(f"{trained}.")]
    renamed = [dataclasses.replace(r, torch=prefix + r.torch.split(".", 1)[1]) for r in table]
    shapes = {rule.torch: rule.shape for rule in renamed}
    params = from_state(StateDict(shapes, meta["config"]["seed"]), renamed)[trained]
    module = DenseHead(HEADS[trained][0], dtype=FP32.heads, precision=FP32.precision)
    raw, inner = with_intermediates(module, params, taps, grid)
    outputs = {k: v["__call__"][0] for k, v in inner.items() if "__call__" in v}
    named = {f"refine{j}": outputs[f"refine{j}"] for j in (1, 2, 3, 4)}
    named |= {f"resized{j}": outputs[f"resize_{j}"] for j in (0, 1, 3)}
    named["resized2"] = add_position(outputs["projects_2"], grid[1] / grid[0])
    return activate(raw, *names), named


def check_activations(arrays: Arrays, meta: Meta) -> list[TensorComparison]:
    """Compares the output activations of dense heads and cameras."""
    rows = []
    for key in [k for k in arrays if k.endswith(".pred")]:
        _, value, confidence, _ = key.split(".")
        conf = None if confidence == "none" else confidence
        channels = arrays[key].shape[-1] + (conf is not None)
        raw = jnp.moveaxis(arrays["in.x"][:, :channels], 1, -1)
        values, certainty = activate(raw, value, conf)
        rows.append(_row(key, values, arrays, EXACT))
        if certainty is not None:
            rows.append(_row(key.replace("pred", "conf"), certainty, arrays, EXACT))
    rows.append(
        _row("out.pose.default", activate_pose(jnp.asarray(arrays["in.pose"])), arrays, EXACT)
    )
    return rows


def _row(name: str, actual: Any, arrays: Arrays, tolerance: Tolerance) -> TensorComparison:
    return compare(name, np.asarray(actual), arrays[name], tolerance)


CHECKERS = {
    "unit_rope2d": check_rope,
    "unit_frame_block": check_frame_block,
    "unit_dino": check_dino,
    "unit_ray_patch_embed": check_ray_embed,
    "unit_newton_schulz": check_newton_schulz,
    "unit_camera_heads": check_camera_heads,
    "unit_dpt_heads": check_dense_heads,
    "unit_head_act": check_activations,
}
