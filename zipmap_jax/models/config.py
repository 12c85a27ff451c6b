"""Model configurations: plain frozen dataclasses, hashable, so they can be static under jit."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from zipmap_jax.errors import UserError, require_at_least
from zipmap_jax.nn.config import (
    CameraHeadConfig,
    DenseHeadConfig,
    EmbedderConfig,
    FastWeightConfig,
)

Variant = Literal["offline", "ref_view", "streaming", "state_query"]
Mixer = Literal["fast_weights", "attention"]


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
        sizes = dict(depth=1, heads=1, mlp_ratio=1, registers=0, ray_channels=0)
        require_at_least(self, "the model", **sizes)
        if self.width % self.heads or (self.width // self.heads) % 4:
            raise UserError(
                f"width {self.width} over {self.heads} heads must give a head dimension that is a "
                "multiple of 4 (two rotary halves): change width or heads"
            )
        if self.fast.gate and self.fast.heads != 1:
            raise UserError(
                f"the output gate is defined for one fast-weight head only, got {self.fast.heads}: "
                "set fast.heads=1 or fast.gate=False"
            )
        ascending = sorted(set(self.taps)) == list(self.taps)
        if len(self.taps) != 4 or not ascending or self.taps[0] < 0:
            raise UserError(
                f"taps {self.taps} must be four different layers in ascending order: correct them"
            )
        if self.taps[-1] != self.depth - 1:
            raise UserError(
                f"taps {self.taps} must end at the last layer, {self.depth - 1}: change taps or "
                "depth"
            )
        if self.variant not in get_args(Variant):
            raise UserError(
                f"unknown variant {self.variant!r}: choose one of {', '.join(get_args(Variant))}"
            )
        if self.window is not None and self.window < 1:
            raise UserError(f"window must be at least 1 view, got {self.window}: None = all views")
        if self.mixer not in get_args(Mixer):
            raise UserError(
                f"unknown mixer {self.mixer!r}: choose one of {', '.join(get_args(Mixer))}"
            )
        if self.mixer == "attention" and (self.window is not None or self.ray_channels):
            raise UserError(
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
