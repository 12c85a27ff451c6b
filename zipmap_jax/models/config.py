"""Model configurations: frozen dataclasses, hashable, so they can be static under `jax.jit`."""

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
    """A whole model. `width` (C) is the embedder's; the heads receive `2 C` channels.

    Attributes:
      preset, variant: names of the size and of the variant.
      depth: number of frame blocks = number of global blocks.
      heads: attention heads of the frame blocks, and of global blocks that are attention.
      taps: layers whose features feed the dense heads; the last also feeds the camera head.
      affine_invariant: every view carries the same special tokens; False marks the first view of
        each `update` as the reference view.
      window: views zipped per fast-weight step; None = all views at once (offline).
      ray_channels: channels of a queried ray; 0 = the model cannot be queried.
      mixer: operation that mixes views: "fast_weights", in time linear in their number, or
        "attention" over all tokens of a scene as in VGGT, in quadratic time and without state.
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
            raise UserError(
                f"window must be at least 1 view, got {self.window}: use None for all views"
            )
        if self.mixer not in get_args(Mixer):
            raise UserError(
                f"unknown mixer {self.mixer!r}: choose one of {', '.join(get_args(Mixer))}"
            )
        if self.mixer == "attention" and (self.window is not None or self.ray_channels):
            raise UserError(
                "attention has no state for windows or queries, got "
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
        """Camera token and register tokens per view."""
        return 1 + self.registers

    @property
    def streams(self) -> bool:
        """Whether several updates give the result of one update over all their views.

        This needs windows, no reference view, and a camera head that does not compare views.
        """
        independent = self.affine_invariant and self.camera.kind == "mlp"
        return self.window is not None and independent

    def views_per_call(self, chunk: int) -> int:
        """Views per call of a streaming model: the whole windows of a chunk, at least one."""
        return _whole_windows(chunk, self.window or chunk)

    def span_and_chunk(self, count: int, chunk: int | None) -> tuple[int, int]:
        """Views per pass through the network, and views per chunk, for `count` views.

        Offline models pass all views at once, in chunks. Streaming models pass the whole windows
        that fit into a chunk, fewer if that makes the spans more even, or one window in chunks.
        """
        window = min(self.window or count, count)
        chunk = min(chunk or count, count)
        spans = -(-count // _whole_windows(chunk, window))
        span = -(-count // (spans * window)) * window
        return span, min(chunk, span)


def _whole_windows(chunk: int, window: int) -> int:
    return max(window, chunk // window * window)
