"""The rule table of ZipMap: tensors of the PyTorch reference and paths of the parameter tree."""

from __future__ import annotations

from zipmap_jax.convert.rules import Layout, Rule
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.nn.config import CameraHeadConfig, DenseHeadConfig

POSE_DIM = 9
"""Numbers of a pose encoding."""
# Constant in the reference, unlike the ratio of the frame and global blocks.
_EMBEDDER_MLP_RATIO = _HEAD_MLP_RATIO = 4
DEPTH_CHANNELS, POINT_CHANNELS, QUERY_CHANNELS = 2, 3, 5
"""Output channels of the dense heads."""


def rules(config: ZipMapConfig) -> list[Rule]:
    """The rule table of a configuration.

    Args:
      config: configuration of the model.

    Returns:
      Rules for all tensors of the state dict.

    Source: the state dict of the PyTorch reference.
    """
    width = config.width
    table = [
        Rule("aggregator.camera_token", "camera_token", (1, 2, 1, width)),
        Rule("aggregator.register_token", "register_token", (1, 2, config.registers, width)),
        *_embedder(config),
        *_mixing_blocks("frame_blocks", config),
        *_global_blocks(config),
    ]
    if config.camera.kind == "transformer":
        table += _camera_head(config.camera, 2 * width)
    else:
        table += _camera_mlp_head(2 * width)
    table += _dense_head("depth_head", config.dense, 2 * width, DEPTH_CHANNELS)
    table += _dense_head("local_point_head", config.dense, 2 * width, POINT_CHANNELS)
    if config.ray_channels:
        table += _ray_embedder(config)
        table += _dense_head("nvs_head", config.dense, 2 * width, QUERY_CHANNELS)
    return table


def _norm(torch: str, ours: str, width: int, layers: int | None = None) -> list[Rule]:
    return [
        Rule(f"{torch}.weight", f"{ours}/scale", (width,), layers=layers),
        Rule(f"{torch}.bias", f"{ours}/bias", (width,), layers=layers),
    ]


def _linear(
    torch: str, ours: str, inputs: int, outputs: int, layers: int | None = None, bias: bool = True
) -> list[Rule]:
    kernel = Rule(f"{torch}.weight", f"{ours}/kernel", (outputs, inputs), "linear", layers)
    return [kernel, Rule(f"{torch}.bias", f"{ours}/bias", (outputs,), layers=layers)][: 1 + bias]


def _conv(
    torch: str, ours: str, inputs: int, outputs: int, size: int, layout: Layout = "conv"
) -> list[Rule]:
    channels = (outputs, inputs) if layout == "conv" else (inputs, outputs)
    return [
        Rule(f"{torch}.weight", f"{ours}/kernel", (*channels, size, size), layout),
        Rule(f"{torch}.bias", f"{ours}/bias", (outputs,)),
    ]


def _residual_parts(torch: str, ours: str, width: int, hidden: int, layers: int) -> list[Rule]:
    """Norms, layer scales and MLP, which all kinds of blocks have in common."""
    table: list[Rule] = []
    for n in (1, 2):
        table += _norm(f"{torch}.norm{n}", f"{ours}/norm{n}", width, layers)
        gamma = Rule(f"{torch}.ls{n}.gamma", f"{ours}/ls{n}/gamma", (width,), layers=layers)
        table.append(gamma)
    table += _linear(f"{torch}.mlp.fc1", f"{ours}/mlp/fc1", width, hidden, layers)
    table += _linear(f"{torch}.mlp.fc2", f"{ours}/mlp/fc2", hidden, width, layers)
    return table


def _attention_blocks(torch: str, ours: str, width: int, hidden: int, layers: int) -> list[Rule]:
    return [
        *_residual_parts(torch, ours, width, hidden, layers),
        *_linear(f"{torch}.attn.qkv", f"{ours}/attn/qkv", width, 3 * width, layers),
        *_linear(f"{torch}.attn.proj", f"{ours}/attn/proj", width, width, layers),
    ]


def _embedder(config: ZipMapConfig) -> list[Rule]:
    width, patch = config.width, config.patch
    torch, ours = "aggregator.patch_embed", "embedder"
    if config.embedder.depth == 0:
        return _conv(f"{torch}.proj", f"{ours}/patch_proj", 3, width, patch)
    registers = config.embedder.registers
    positions = 1 + (config.embedder.image_size // patch) ** 2
    return [
        Rule(f"{torch}.cls_token", f"{ours}/cls_token", (1, 1, width)),
        Rule(f"{torch}.pos_embed", f"{ours}/pos_embed", (1, positions, width)),
        Rule(f"{torch}.register_tokens", f"{ours}/register_tokens", (1, registers, width)),
        Rule(f"{torch}.mask_token", f"{ours}/mask_token", (1, width)),
        *_conv(f"{torch}.patch_embed.proj", f"{ours}/patch_proj", 3, width, patch),
        *_attention_blocks(
            f"{torch}.blocks.{{i}}",
            f"{ours}/blocks",
            width,
            _EMBEDDER_MLP_RATIO * width,
            config.embedder.depth,
        ),
        *_norm(f"{torch}.norm", f"{ours}/norm", width),
    ]


def _mixing_blocks(ours: str, config: ZipMapConfig) -> list[Rule]:
    """Attention blocks of the backbone, with normalised queries and keys."""
    width, layers, head_width = config.width, config.depth, config.width // config.heads
    torch = f"aggregator.{ours}.{{i}}"
    return [
        *_attention_blocks(torch, ours, width, config.mlp_ratio * width, layers),
        *_norm(f"{torch}.attn.q_norm", f"{ours}/attn/q_norm", head_width, layers),
        *_norm(f"{torch}.attn.k_norm", f"{ours}/attn/k_norm", head_width, layers),
    ]


def _global_blocks(config: ZipMapConfig) -> list[Rule]:
    if config.mixer == "attention":  # the names are those of VGGT's global blocks
        return _mixing_blocks("global_blocks", config)
    fast, width, layers = config.fast, config.width, config.depth
    block, torch = "aggregator.global_blocks.{i}", "aggregator.global_blocks.{i}.ttt_block"
    ours = "global_blocks/ttt"
    heads, d = fast.heads, width // fast.heads
    m = fast.hidden_multiple * d
    table = _residual_parts(block, "global_blocks", width, config.mlp_ratio * width, layers)
    for name, shape in (("w0", (heads, d, m)), ("w1", (heads, m, d)), ("w2", (heads, d, m))):
        table.append(Rule(f"{torch}.{name}", f"{ours}/{name}", shape, layers=layers))
    table += _linear(f"{torch}.to_qkv", f"{ours}/to_qkv", width, 3 * width, layers, fast.bias)
    table += _linear(f"{torch}.c_proj", f"{ours}/c_proj", width, width, layers, fast.bias)
    # Learning rates and gate always have a bias.
    table += _linear(f"{torch}.lr_fc", f"{ours}/lr_fc", width, 3 * heads, layers)
    if fast.gate:
        table += _linear(f"{torch}.gate_fn.0", f"{ours}/gate", width, width, layers)
    table.append(Rule(f"{torch}.o_norm.weight", f"{ours}/o_norm/scale", (d,), layers=layers))
    return table


def _ray_embedder(config: ZipMapConfig) -> list[Rule]:
    width, torch, ours = config.width, "aggregator.ray_patch_embed", "ray_embed"
    return [
        Rule("aggregator.ray_cond_token", "ray_cond_token", (1, 1, config.special_tokens, width)),
        *_conv(f"{torch}.proj", f"{ours}/proj", config.ray_channels, width, config.patch),
        *_norm(f"{torch}.norm", f"{ours}/norm", width),
    ]


def _camera_head(camera: CameraHeadConfig, width: int) -> list[Rule]:
    head = "camera_head"
    hidden = _HEAD_MLP_RATIO * width
    trunk = _attention_blocks(f"{head}.trunk.{{i}}", f"{head}/trunk", width, hidden, camera.depth)
    modulation = f"{head}.poseLN_modulation.1"
    return [
        Rule(f"{head}.empty_pose_tokens", f"{head}/empty_pose_tokens", (1, 1, POSE_DIM)),
        *_norm(f"{head}.token_norm", f"{head}/token_norm", width),
        *_norm(f"{head}.trunk_norm", f"{head}/trunk_norm", width),
        *_linear(f"{head}.embed_pose", f"{head}/embed_pose", POSE_DIM, width),
        *_linear(modulation, f"{head}/modulation", width, 3 * width),
        *_linear(f"{head}.pose_branch.fc1", f"{head}/branch/fc1", width, width // 2),
        *_linear(f"{head}.pose_branch.fc2", f"{head}/branch/fc2", width // 2, POSE_DIM),
        *trunk,
    ]


def _camera_mlp_head(width: int) -> list[Rule]:
    head, hidden = "camera_mlp_head", _HEAD_MLP_RATIO * width
    return [
        *_linear(f"{head}.mlp.fc1", f"{head}/fc1", width, hidden),
        *_linear(f"{head}.mlp.fc2", f"{head}/fc2", hidden, POSE_DIM),
    ]


def _dense_head(head: str, dense: DenseHeadConfig, width: int, outputs: int) -> list[Rule]:
    features, levels = dense.features, dense.out_channels
    table = _norm(f"{head}.norm", f"{head}/norm", width)
    for j, channels in enumerate(levels):
        table += _conv(f"{head}.projects.{j}", f"{head}/projects_{j}", width, channels, 1)
    # Level 2 is not resized, which is an identity in the reference.
    resizes: tuple[tuple[int, int, Layout], ...] = (
        (0, 4, "transposed_conv"),
        (1, 2, "transposed_conv"),
        (3, 3, "conv"),
    )
    for j, size, layout in resizes:
        torch, ours = f"{head}.resize_layers.{j}", f"{head}/resize_{j}"
        table += _conv(torch, ours, levels[j], levels[j], size, layout)
    for j, channels in enumerate(levels, start=1):
        torch, ours = f"{head}.scratch.layer{j}_rn", f"{head}/layer{j}_rn"
        table += _conv(torch, ours, channels, features, 3)[:1]  # no bias
        table += _fusion(f"{head}.scratch.refinenet{j}", f"{head}/refine{j}", features, j)
    first, last = f"{head}.scratch.output_conv1", f"{head}.scratch.output_conv2"
    table += _conv(first, f"{head}/output_conv1", features, features // 2, 3)
    table += _conv(f"{last}.0", f"{head}/output_conv2_0", features // 2, dense.hidden, 3)
    table += _conv(f"{last}.2", f"{head}/output_conv2_2", dense.hidden, outputs, 1)
    return table


def _fusion(torch: str, ours: str, features: int, level: int) -> list[Rule]:
    table = _conv(f"{torch}.out_conv", f"{ours}/out_conv", features, features, 1)
    # The coarsest level has no coarser result to merge, hence no first residual unit.
    for unit in (1, 2) if level < 4 else (2,):
        for n in (1, 2):
            name = f"{torch}.resConfUnit{unit}.conv{n}"
            table += _conv(name, f"{ours}/res{unit}/conv{n}", features, features, 3)
    return table
