"""Configurations of the building blocks, and the number formats they compute in."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal, get_args

import jax.numpy as jnp

from zipmap_jax.errors import UserError

NewtonSchulzPrecision = Literal["fp32", "bf16_operands", "bf16"]


@dataclasses.dataclass(frozen=True)
class Policy:
    """Which number format each part computes in (the regime of the reference's demos).

    The residual stream, layer norms, learning rates and fast weights are always fp32; only the
    operands of the large products change.

    Attributes:
      compute: dtype of matmul operands in the embedder and the blocks.
      heads: dtype of matmul and convolution operands in the heads.
      precision: `jax.lax` precision of fp32 products: "highest" = true fp32, "default" = TF32 on
        GPUs that have it.
      newton_schulz: "fp32"; "bf16_operands" = bf16 operands, fp32 carry; "bf16" = all bf16.
      taps: dtype in which the four tapped features wait for the dense heads.
      attention: "auto" (cuDNN on a GPU in 16-bit formats, else XLA), "xla" or "cudnn".
    """

    compute: Any = jnp.float32
    heads: Any = jnp.float32
    precision: Literal["highest", "default"] = "highest"
    newton_schulz: NewtonSchulzPrecision = "fp32"
    taps: Any = jnp.float32
    attention: Literal["auto", "xla", "cudnn"] = "auto"

    def __post_init__(self) -> None:
        allowed = typing.get_type_hints(type(self))
        for name in ("precision", "newton_schulz", "attention"):
            value, choices = getattr(self, name), get_args(allowed[name])
            if value not in choices:
                raise UserError(f"policy has {name}={value!r}: choose one of {', '.join(choices)}")


FP32 = Policy()


BF16 = Policy(
    compute=jnp.bfloat16,
    precision="default",
    newton_schulz="bf16_operands",
    # Adds a fiftieth to the error of the bf16 blocks, and halves what grows with the views.
    taps=jnp.bfloat16,
)


POLICIES: dict[str, Policy] = {"fp32": FP32, "bf16": BF16}


@dataclasses.dataclass(frozen=True)
class EmbedderConfig:
    """The per-image patch embedder: DINOv2 with registers, or a bare patch convolution.

    Attributes:
      depth: number of transformer blocks; 0 = patch convolution only, no position embedding.
      image_size: side of the square images the position embedding belongs to.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    patch: int = 14
    image_size: int = 518
    registers: int = 4
    layer_scale_init: float = 1.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError(
                f"the embedder's width {self.width} is not divisible by its {self.heads} heads: "
                "change embedder.width or embedder.heads"
            )


@dataclasses.dataclass(frozen=True)
class FastWeightConfig:
    """The test-time-training layer of a global block.

    Attributes:
      heads: independent fast-weight MLPs, each on its share of the channels.
      hidden_multiple: hidden units per input channel.
      base_lr: learning rate of a token at zero pre-activation.
      gate: multiply what is read by a gate; one head only.
      bias: of the query-key-value and output projections.
    """

    heads: int = 1
    hidden_multiple: int = 2
    base_lr: float = 0.01
    newton_schulz_steps: int = 5
    gate: bool = True
    bias: bool = True


@dataclasses.dataclass(frozen=True)
class CameraHeadConfig:
    """Camera head: iterative transformer over the views, or one MLP per view.

    Attributes:
      output_scale: factor on the initial weights of the last layer. 0 starts at no motion: random
        poses are worse than none, and unlearning them costs the tokens what tells views apart.
    """

    kind: Literal["transformer", "mlp"] = "transformer"
    depth: int = 4
    heads: int = 16
    iterations: int = 4
    layer_scale_init: float = 0.01
    output_scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class DenseHeadConfig:
    """DPT head.

    Attributes:
      features, out_channels, hidden: widths.
      init_gain: initial gain of every layer. PyTorch's default, 3**-0.5, shrinks what the tokens
        say to a hundredth by the last layer, which only a start from pretrained weights can
        afford; about 1 keeps its size (the residual units add to it).
      output_scale: factor on the initial weights of the last layer, whose output is exponentiated.
    """

    features: int = 256
    out_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    hidden: int = 32
    init_gain: float = 3**-0.5
    output_scale: float = 1.0
