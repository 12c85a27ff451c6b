"""Configurations and number formats of the building blocks."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal, get_args

import jax.numpy as jnp

from zipmap_jax.errors import UserError, require_at_least

NewtonSchulzPrecision = Literal["fp32", "bf16_operands", "bf16"]


@dataclasses.dataclass(frozen=True)
class Policy:
    """Number formats of the parts of a model.

    The residual stream, layer norms, learning rates and fast weights are always fp32; a policy
    changes only the operands of the large products. `BF16` corresponds to the reference's demos.

    Attributes:
      compute: dtype of matmul operands in the embedder and the blocks.
      heads: dtype of matmul and convolution operands in the heads.
      precision: `jax.lax` precision of fp32 products: "highest" = fp32, "default" = TF32 on GPUs
        that support it.
      newton_schulz: format of the Newton-Schulz iteration: "fp32"; "bf16_operands" = bf16 operands
        and fp32 iterates; "bf16" = bf16 throughout.
      taps: dtype of the four tapped features while they are stored for the dense heads.
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
    # This adds 2 % to the error of the bf16 blocks and halves the memory that grows with the views.
    taps=jnp.bfloat16,
)


POLICIES: dict[str, Policy] = {"fp32": FP32, "bf16": BF16}


@dataclasses.dataclass(frozen=True)
class EmbedderConfig:
    """Patch embedder of single images: DINOv2 with registers, or a patch convolution alone.

    Attributes:
      width: channels of a token.
      depth: number of transformer blocks; 0 = patch convolution only, no position embedding.
      heads: attention heads.
      patch: side of a patch in pixels.
      image_size: side in pixels of the square images that the position embedding belongs to.
      registers: number of register tokens.
      layer_scale_init: initial value of the residual scales.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    patch: int = 14
    image_size: int = 518
    registers: int = 4
    layer_scale_init: float = 1.0

    def __post_init__(self) -> None:
        sizes = dict(width=1, depth=0, heads=1, patch=1, image_size=1, registers=0)
        require_at_least(self, "the embedder", **sizes)
        if self.width % self.heads:
            raise UserError(
                f"the embedder's width {self.width} is not divisible by its {self.heads} heads: "
                "change embedder.width or embedder.heads"
            )


@dataclasses.dataclass(frozen=True)
class FastWeightConfig:
    """Test-time-training layer of a global block.

    Attributes:
      heads: number of independent fast-weight MLPs, each on its share of the channels.
      hidden_multiple: hidden units per input channel.
      base_lr: learning rate of a token at zero pre-activation.
      newton_schulz_steps: iterations of the orthogonalisation.
      gate: whether the output is multiplied by a learned gate; one head only.
      bias: whether the query-key-value and output projections have a bias.
    """

    heads: int = 1
    hidden_multiple: int = 2
    base_lr: float = 0.01
    newton_schulz_steps: int = 5
    gate: bool = True
    bias: bool = True

    def __post_init__(self) -> None:
        sizes = dict(heads=1, hidden_multiple=1, newton_schulz_steps=0)
        require_at_least(self, "the fast-weight layer", **sizes)
        if not self.base_lr > 0:
            raise UserError(f"the fast-weight layer has base_lr={self.base_lr}: make it positive")


@dataclasses.dataclass(frozen=True)
class CameraHeadConfig:
    """Camera head: an iterative transformer over the views, or an MLP on each view.

    Attributes:
      kind: "transformer", or "mlp" for streaming models.
      depth: transformer blocks of an iteration.
      heads: attention heads.
      iterations: number of refinements.
      layer_scale_init: initial value of the residual scales.
      output_scale: factor on the initial weights of the last layer. With 0 all cameras start at the
        same pose: random initial poses are worse, and removing their error makes the tokens of
        different views alike.
    """

    kind: Literal["transformer", "mlp"] = "transformer"
    depth: int = 4
    heads: int = 16
    iterations: int = 4
    layer_scale_init: float = 0.01
    output_scale: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(self, "the camera head", depth=0, heads=1, iterations=1)


@dataclasses.dataclass(frozen=True)
class DenseHeadConfig:
    """Dense prediction (DPT) head.

    Attributes:
      features: channels of the fusion path.
      out_channels: channels of the four levels before fusion, fine to coarse.
      hidden: channels of the layer before the last.
      init_gain: initial gain of every layer. PyTorch's default, 3**-0.5, shrinks the signal to a
        hundredth by the last layer, which is only suitable for pretrained weights; about 1 keeps
        its magnitude (the residual units add to it).
      output_scale: factor on the initial weights of the last layer, whose output is exponentiated.
    """

    features: int = 256
    out_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    hidden: int = 32
    init_gain: float = 3**-0.5
    output_scale: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(self, "the dense head", features=1, hidden=1)
        if min(self.out_channels) < 1:
            raise UserError(f"dense.out_channels is {self.out_channels}: make all at least 1")
