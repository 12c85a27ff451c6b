"""What the memory of the device is taken by, part by part, before anything is compiled."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.nn.config import Policy

# Above this size, the scores of attention are made one head at a time (zipmap_jax.nn.attention).
_SCORE_BYTES = 512 * 2**20
# Of temporaries, which the compiler arranges as it likes; what holds data is counted exactly.
_MARGIN = 1.15


@dataclasses.dataclass(frozen=True)
class Workload:
    """What the memory of a reconstruction depends on.

    Attributes:
      config, policy: the model.
      parameter_bytes: size of its weights on the device, see `tree_bytes`.
      original_sizes: (height, width) of every original image.
      network_size: (height, width) at which the network works.
      chunk: views worked on at a time; None = all.
      devices: that share the views.
      in_place: whether the compiler keeps one copy of their token stream while it loops over chunks
        within a loop over layers, as it does for GPUs; on the CPU it keeps two.
      whole: whether it is one call, all images and predictions on the device, as `ZipMap.update`
        in a `jax.jit` of one's own and `zipmap bench runtime` make it, and neither three programs
        that follow each other nor one that is called with some views after the other.
    """

    config: ZipMapConfig
    policy: Policy
    parameter_bytes: int
    original_sizes: tuple[tuple[int, int], ...]
    network_size: tuple[int, int]
    chunk: int | None = None
    devices: int = 1
    in_place: bool = False
    whole: bool = False

    @property
    def views(self) -> int:
        return len(self.original_sizes)

    @property
    def share(self) -> int:
        """Views of a device."""
        return math.ceil(self.views / self.devices)

    @property
    def together(self) -> int:
        """Views of a device that go through the network together, see `ZipMapConfig.at_once`."""
        return self._at_once[0]

    @property
    def live_chunk(self) -> int:
        return self._at_once[1]

    @property
    def one_call(self) -> bool:
        """Whether all views of a model with a window come in one call."""
        return self.whole or not self.config.streams

    @property
    def _at_once(self) -> tuple[int, int]:
        if self.one_call or self.chunk is None or self.chunk >= self.share:
            return self.config.at_once(self.share, self.chunk)
        views = self.config.per_call(self.chunk)
        return views, min(self.chunk, views)


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
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
        names = [f.name for f in dataclasses.fields(self) if f.name != "phased"]
        parts = (f"{name} {getattr(self, name) / 1e9:.2f}" for name in names)
        return f"on the device, GB: {', '.join(parts)}"


def plan_memory(w: Workload) -> MemoryPlan:
    """Bytes of each part of a reconstruction.

    What grows with the number of views is counted exactly: tapped features and, where it is more
    than the heads' temporaries, the token stream. Temporaries grow with the chunk; for the CPU they
    are within a third of what the compiler reports at 392x518 pixels, and err upwards for smaller
    images. For a GPU the whole is too high by 11, 4 and 2 % at 750, 3000 and 5000 views of `large`
    (docs/results/h200-memory.md).
    """
    c = w.config
    height, width = w.network_size
    pixels = height * width
    tokens = (height // c.patch) * (width // c.patch) + c.special_tokens
    padded = math.ceil(w.share / w.live_chunk) * w.live_chunk
    live = math.ceil(w.together / w.live_chunk) * w.live_chunk
    stream = tokens * c.width * 4
    taps = 4 * tokens * 2 * c.width * np.dtype(w.policy.taps).itemsize
    attention = c.heads * tokens**2 * 4 * 2
    mlp = tokens * c.mlp_ratio * c.width * 4 * 2
    # Before the last upsampling (8 pixels a patch side), and twice after it.
    half = pixels * (8 / c.patch) ** 2
    dense = 4 * (half * c.dense.features + pixels * (c.dense.features + c.dense.hidden))
    phased = c.window is None and not w.whole
    whole = not phased and w.one_call
    # Some are computed while those before or after them come or go.
    there = padded if whole else min(padded, 2 * (w.live_chunk if phased else live))
    cut = 2 if whole and w.together < w.share else 1  # into parts that follow each other
    copies = 2 if not phased and live > w.live_chunk and not w.in_place else 1
    return MemoryPlan(
        weights=w.parameter_bytes,
        images=cut * there * pixels * 4 * 3,
        outputs=there * pixels * 4 * 2,
        taps=live * taps,
        tokens=copies * live * stream,
        backbone=int(_MARGIN * (w.live_chunk * (attention + mlp) + _scene_bytes(w, tokens))),
        heads=int(_MARGIN * w.live_chunk * dense),
        mixer=_mixer_bytes(c),
        cameras=int(_MARGIN * _camera_bytes(c, w.views if phased or whole else w.together)),
        phased=phased,
    )


def _camera_bytes(c: ZipMapConfig, views: int) -> int:
    """Temporaries of a camera head: hidden units, and the scores of attention among all views."""
    hidden = views * 4 * 2 * c.width * 4
    if c.camera.kind == "mlp":
        return hidden
    return hidden + 2 * _at_once(c.camera.heads, views**2 * 4)


def _mixer_bytes(c: ZipMapConfig) -> int:
    """Fast weights of a layer: before and after a step, gradients and three of the step's own."""
    if c.mixer == "attention":
        return 0
    layer = 3 * (c.width // c.fast.heads) ** 2 * c.fast.hidden_multiple * c.fast.heads * 4
    return 6 * layer if c.window is None else (6 + 2 * c.depth) * layer


def _scene_bytes(w: Workload, tokens: int) -> int:
    """Temporaries of attention among the tokens of all views."""
    c = w.config
    if c.mixer != "attention":
        return 0
    scene = w.views * tokens
    scores = _at_once(c.heads, scene**2 * 4)
    return 2 * (scores + scene * c.mlp_ratio * c.width * 4)


def _at_once(heads: int, scores: int) -> int:
    """Bytes of the scores that are made together, of those of a head."""
    return min(heads * scores, max(scores, _SCORE_BYTES))
