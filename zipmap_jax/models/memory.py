"""Estimated device memory of a reconstruction, by part."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from zipmap_jax.models.api import Workload
from zipmap_jax.models.backbone import Backbone, bytes_of_scores
from zipmap_jax.models.config import ZipMapConfig

# Factor on temporaries, whose layout the compiler chooses; data are counted exactly.
_MARGIN = 1.15


@dataclasses.dataclass(frozen=True)
class ZipMapMemory:
    """Bytes on a device during a reconstruction.

    Attributes:
      weights: parameters of the model.
      images: network images held at the same time.
      outputs: depth and confidence, likewise.
      taps: tapped features of one pass through the network, kept for the heads.
      tokens: the token stream of this pass, while the backbone runs.
      backbone: temporaries of a block: attention, hidden units, scores among all views.
      heads: temporaries of the dense heads, after the backbone.
      mixer: a step of the fast weights; in models with windows also the weights of all layers,
        before and after.
      cameras: temporaries of the camera head, for all views of a call.
      live_chunk: views per chunk.
      phased: whether the phases are separate programs (`zipmap_jax.inference.offline_program`)
        instead of one.
    """

    weights: int
    images: int
    outputs: int
    taps: int
    tokens: int
    backbone: int
    heads: int
    mixer: int
    cameras: int
    phased: bool = True
    live_chunk: int = 1

    @property
    def total(self) -> int:
        """Peak bytes; parts that are never live together share memory."""
        if not self.phased:
            held = self.weights + self.images + self.outputs + self.taps + self.mixer
            return held + max(self.tokens + self.backbone, self.heads)
        embed = self.images + self.tokens + self.backbone
        zip_all = self.taps + self.tokens + max(self.backbone + self.mixer, self.cameras)
        return self.weights + max(embed, zip_all, self.taps + self.heads + self.outputs)

    @property
    def text(self) -> str:
        """The parts in one line, in GB."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in ("phased", "live_chunk")]
        sizes = {name: f"{getattr(self, name) / 1e9:.2f}" for name in names}
        parts = [f"{name} {size}" for name, size in sizes.items() if size != "0.00"]
        return f"on the device, GB: {', '.join(parts) or 'less than 0.01'}"


def call_span_chunk(c: ZipMapConfig, w: Workload) -> tuple[bool, int, int]:
    """Whether one call takes all views; a device's views per pass and views per chunk."""
    one_call = w.whole or not c.streams
    if one_call or w.chunk is None or w.chunk >= w.share:
        return one_call, *c.span_and_chunk(w.share, w.chunk)
    views = c.views_per_call(w.chunk)
    return one_call, views, min(w.chunk, views)


def plan_memory(backbone: Backbone, w: Workload) -> ZipMapMemory:
    """Bytes of each part of a reconstruction.

    Parts that grow with the number of views (tapped features, the token stream) are exact.
    Temporaries grow with the chunk: for the CPU they are within a third of the compiler's report
    at 392x518 pixels, and too high for smaller images. For a GPU the total is too high by 11, 4
    and 2 % at 750, 3000 and 5000 views of `large` (docs/results/h200-memory.md).
    """
    c = backbone.config
    one_call, span, live_chunk = call_span_chunk(c, w)
    height, width = w.network_size
    pixels = height * width
    tokens = (height // c.patch) * (width // c.patch) + c.special_tokens
    padded = math.ceil(w.share / live_chunk) * live_chunk
    live = math.ceil(span / live_chunk) * live_chunk
    stream = tokens * c.width * 4
    taps = 4 * tokens * 2 * c.width * np.dtype(backbone.policy.taps).itemsize
    attention = c.heads * tokens**2 * 4 * 2
    mlp = tokens * c.mlp_ratio * c.width * 4 * 2
    # Before the last upsampling (8 pixels a patch side), and twice after it.
    half = pixels * (8 / c.patch) ** 2
    dense = 4 * (half * c.dense.features + pixels * (c.dense.features + c.dense.hidden))
    phased = c.window is None and not w.whole
    whole = not phased and one_call
    # Transfers overlap with computation, so the device holds two chunks.
    held = padded if whole else min(padded, 2 * (live_chunk if phased else live))
    image_copies = 2 if whole and span < w.share else 1  # the second one is split into spans
    copies = 2 if not phased and live > live_chunk and not w.in_place else 1
    mixer, scene = backbone.mixing_bytes(w.views, tokens)
    return ZipMapMemory(
        weights=w.parameter_bytes,
        images=image_copies * held * pixels * 4 * 3,
        outputs=held * pixels * 4 * 2,
        taps=live * taps,
        tokens=copies * live * stream,
        backbone=int(_MARGIN * (live_chunk * (attention + mlp) + scene)),
        heads=int(_MARGIN * live_chunk * dense),
        mixer=mixer,
        cameras=int(_MARGIN * _camera_bytes(c, w.views if phased or whole else span)),
        phased=phased,
        live_chunk=live_chunk,
    )


def _camera_bytes(c: ZipMapConfig, views: int) -> int:
    """Temporaries of a camera head: hidden units, and scores of attention among all views."""
    hidden = views * 4 * 2 * c.width * 4
    if c.camera.kind == "mlp":
        return hidden
    return hidden + 2 * bytes_of_scores(c.camera.heads, views**2 * 4)
