"""What the memory of the device is taken by, part by part, before anything is compiled."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from zipmap_jax.models.api import Workload
from zipmap_jax.models.backbone import Backbone, bytes_of_scores
from zipmap_jax.models.config import ZipMapConfig

# Of temporaries, which the compiler arranges as it likes; what holds data is counted exactly.
_MARGIN = 1.15


@dataclasses.dataclass(frozen=True)
class ZipMapMemory:
    """Bytes on a device during a reconstruction.

    Attributes:
      weights: parameters of the model.
      images: the views at network size that lie there at the same time.
      outputs: depth and confidence, likewise.
      taps: tapped features of the views that go through the network together; they wait for the
        heads.
      tokens: the token stream of these views, while the backbone runs.
      backbone: temporaries of a block: attention, hidden units, scores among all views.
      heads: temporaries of the dense heads, once the backbone is done.
      mixer: a step of the fast weights; where they are carried from some views to the next, those
        of all layers as well, before and after.
      cameras: temporaries of the camera head, which sees all views of a call at once.
      live_chunk: views worked on at a time.
      phased: whether programs follow each other, see `zipmap_jax.inference.offline_program`; else
        one does everything, for all views or for some after the other.
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
        """The peak: what runs one after the other shares its place."""
        if not self.phased:
            held = self.weights + self.images + self.outputs + self.taps + self.mixer
            return held + max(self.tokens + self.backbone, self.heads)
        embed = self.images + self.tokens + self.backbone
        zip_all = self.taps + self.tokens + max(self.backbone + self.mixer, self.cameras)
        return self.weights + max(embed, zip_all, self.taps + self.heads + self.outputs)

    @property
    def text(self) -> str:
        """One line for people, in GB."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in ("phased", "live_chunk")]
        parts = (f"{name} {getattr(self, name) / 1e9:.2f}" for name in names)
        return f"on the device, GB: {', '.join(parts)}"


def views_at_once(c: ZipMapConfig, w: Workload) -> tuple[bool, int, int]:
    """Whether all views of a model with a window come in one call; views of a device that go
    through the network together, and in chunks of how many; see `ZipMapConfig.at_once`.
    """
    one_call = w.whole or not c.streams
    if one_call or w.chunk is None or w.chunk >= w.share:
        return one_call, *c.at_once(w.share, w.chunk)
    views = c.per_call(w.chunk)
    return one_call, views, min(w.chunk, views)


def plan_memory(backbone: Backbone, w: Workload) -> ZipMapMemory:
    """Bytes of each part of a reconstruction.

    What grows with the number of views is counted exactly: tapped features and, where it is more
    than the heads' temporaries, the token stream. Temporaries grow with the chunk; for the CPU they
    are within a third of what the compiler reports at 392x518 pixels, and err upwards for smaller
    images. For a GPU the whole is too high by 11, 4 and 2 % at 750, 3000 and 5000 views of `large`
    (docs/results/h200-memory.md).
    """
    c = backbone.config
    one_call, together, live_chunk = views_at_once(c, w)
    height, width = w.network_size
    pixels = height * width
    tokens = (height // c.patch) * (width // c.patch) + c.special_tokens
    padded = math.ceil(w.share / live_chunk) * live_chunk
    live = math.ceil(together / live_chunk) * live_chunk
    stream = tokens * c.width * 4
    taps = 4 * tokens * 2 * c.width * np.dtype(backbone.policy.taps).itemsize
    attention = c.heads * tokens**2 * 4 * 2
    mlp = tokens * c.mlp_ratio * c.width * 4 * 2
    # Before the last upsampling (8 pixels a patch side), and twice after it.
    half = pixels * (8 / c.patch) ** 2
    dense = 4 * (half * c.dense.features + pixels * (c.dense.features + c.dense.hidden))
    phased = c.window is None and not w.whole
    whole = not phased and one_call
    # Some are computed while those before or after them come or go.
    there = padded if whole else min(padded, 2 * (live_chunk if phased else live))
    cut = 2 if whole and together < w.share else 1  # into parts that follow each other
    copies = 2 if not phased and live > live_chunk and not w.in_place else 1
    mixer, scene = backbone.mixing_bytes(w.views, tokens)
    return ZipMapMemory(
        weights=w.parameter_bytes,
        images=cut * there * pixels * 4 * 3,
        outputs=there * pixels * 4 * 2,
        taps=live * taps,
        tokens=copies * live * stream,
        backbone=int(_MARGIN * (live_chunk * (attention + mlp) + scene)),
        heads=int(_MARGIN * live_chunk * dense),
        mixer=mixer,
        cameras=int(_MARGIN * _camera_bytes(c, w.views if phased or whole else together)),
        phased=phased,
        live_chunk=live_chunk,
    )


def _camera_bytes(c: ZipMapConfig, views: int) -> int:
    """Temporaries of a camera head: hidden units, and the scores of attention among all views."""
    hidden = views * 4 * 2 * c.width * 4
    if c.camera.kind == "mlp":
        return hidden
    return hidden + 2 * bytes_of_scores(c.camera.heads, views**2 * 4)
