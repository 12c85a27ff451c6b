"""Model configurations: plain frozen dataclasses, hashable, so they can be static under jit."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal, get_args

import jax.numpy as jnp

NewtonSchulzPrecision = Literal["fp32", "bf16_operands", "bf16"]
Variant = Literal["offline", "ref_view", "streaming", "state_query"]
Mixer = Literal["fast_weights", "attention"]


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
                raise ValueError(f"policy has {name}={value!r}: choose one of {', '.join(choices)}")


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
            raise ValueError(
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


@dataclasses.dataclass(frozen=True)
class ZipMapConfig:
    """A whole model. `width` (C) is the embedder's; `2 C` channels reach the heads.

    Attributes:
      preset, variant: names under which the configuration is known.
      depth: number of frame blocks = number of global blocks.
      heads: attention heads of the frame blocks, and of global blocks that are attention.
      taps: layers whose features feed the dense heads; the last also feeds the camera head.
      affine_invariant: every view carries the same special tokens; False marks the first view of
        each `update` as the reference view.
      window: views zipped per fast-weight step; None = all views at once (offline).
      ray_channels: channels of a queried ray; 0 = the model cannot be queried.
      special_tokens: camera token plus register tokens of each view.
      mixer: how global blocks mix views: "fast_weights" in time linear in their number, or softmax
        "attention" among all tokens of a scene, as in VGGT: quadratic, and without a memory.
    """

    preset: str = "large"
    variant: Variant = "offline"
    embedder: EmbedderConfig = EmbedderConfig()
    depth: int = 24
    heads: int = 16
    mlp_ratio: int = 4
    rope_base: float = 100.0
    layer_scale_init: float = 0.01
    registers: int = 4
    taps: tuple[int, int, int, int] = (4, 11, 17, 23)
    fast: FastWeightConfig = FastWeightConfig()
    camera: CameraHeadConfig = CameraHeadConfig()
    dense: DenseHeadConfig = DenseHeadConfig()
    affine_invariant: bool = True
    window: int | None = None
    ray_channels: int = 0
    mixer: Mixer = "fast_weights"

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 4:
            raise ValueError(
                f"width {self.width} over {self.heads} heads must give a head dimension that is a "
                "multiple of 4 (two rotary halves): change width or heads"
            )
        if self.fast.gate and self.fast.heads != 1:
            raise ValueError(
                f"the output gate is defined for one fast-weight head only, got {self.fast.heads}: "
                "set fast.heads=1 or fast.gate=False"
            )
        ascending = sorted(set(self.taps)) == list(self.taps)
        if len(self.taps) != 4 or not ascending or self.taps[0] < 0:
            raise ValueError(f"taps {self.taps} must be four different layers in ascending order")
        if self.taps[-1] != self.depth - 1:
            raise ValueError(
                f"taps {self.taps} must end at the last layer, {self.depth - 1}: change taps or "
                "depth"
            )
        if self.variant not in get_args(Variant):
            raise ValueError(
                f"unknown variant {self.variant!r}: choose one of {', '.join(get_args(Variant))}"
            )
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be at least 1 view, got {self.window}: None = all views")
        if self.mixer not in get_args(Mixer):
            raise ValueError(
                f"unknown mixer {self.mixer!r}: choose one of {', '.join(get_args(Mixer))}"
            )
        if self.mixer == "attention" and (self.window is not None or self.ray_channels):
            raise ValueError(
                "attention has no state to carry from window to window or to be queried, got "
                f"window={self.window} and ray_channels={self.ray_channels}: leave both out, or "
                "choose mixer fast_weights"
            )

    @property
    def width(self) -> int:
        return self.embedder.width

    @property
    def patch(self) -> int:
        return self.embedder.patch

    @property
    def special_tokens(self) -> int:
        return 1 + self.registers

    @property
    def streams(self) -> bool:
        """Whether views may come in any number of updates, for the answer of a single one.

        Offline models see all views of an update together. So do those that zip one window after
        the other but mark the first view of an update, or have a camera head that compares views.
        """
        alone = self.affine_invariant and self.camera.kind == "mlp"
        return self.window is not None and alone

    def per_call(self, chunk: int) -> int:
        """Views of a call of a model that `streams`: the whole windows of a chunk, at least one."""
        return _whole_windows(chunk, self.window or chunk)

    def at_once(self, count: int, chunk: int | None) -> tuple[int, int]:
        """How many of `count` views go through the network together, and in chunks of how many.

        Offline that is all of them, in chunks. Of a streaming model it is as many whole windows as
        a chunk holds, fewer if the views are then shared more evenly; or one, in chunks.
        """
        window = min(self.window or count, count)
        chunk = min(chunk or count, count)
        most = _whole_windows(chunk, window)
        parts = -(-count // most)
        together = -(-count // (parts * window)) * window
        return together, min(chunk, together)


def _whole_windows(chunk: int, window: int) -> int:
    return max(window, chunk // window * window)
