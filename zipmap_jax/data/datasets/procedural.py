"""Procedural scenes as a source of the mixture, ray-cast on the host's CPU.

A batch can thus mix recorded and procedural scenes, and the whole loader can run without any files.
Training on procedural scenes alone draws them on the accelerator instead.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import numpy as np

from zipmap_jax.data.frame import PosedFrame, SceneViews
from zipmap_jax.procedural.config import ProceduralConfig
from zipmap_jax.procedural.scenes import scene_batch

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

_SCENES = 2**31
"""Scenes of a stream that may be drawn."""


class ProceduralScenes:
    """Endless scenes, rendered at the requested size; each size compiles once per process.

    Args:
      seed: number of the stream of scenes.
      shuffle: put the views of a scene in random order.
      config: distribution of the scenes; its views and size are not used.
    """

    name = "procedural"

    def __init__(
        self, seed: int = 0, shuffle: bool = True, config: ProceduralConfig | None = None
    ) -> None:
        self._seed, self._shuffle = seed, shuffle
        self._config = config or ProceduralConfig()

    def scene(self, rng: np.random.Generator, views: int, size: tuple[int, int]) -> SceneViews:
        """Render `views` frames of `size` (height, width) of a scene of random number."""
        number = int(rng.integers(_SCENES))
        config = dataclasses.replace(self._config, views=views, height=size[0], width=size[1])
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            drawn = jax.device_get(scene_batch(config, self._seed, number, 1))
        order = rng.permutation(views) if self._shuffle else np.arange(views)
        frames = tuple(
            PosedFrame(
                _as_bytes(drawn["images"][0, view]),
                drawn["depth"][0, view],
                drawn["intrinsics"][0, view],
                drawn["w2c"][0, view],
                int(view),
            )
            for view in order
        )
        return SceneViews(frames, number)


def _as_bytes(image: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.round(image * 255).astype(np.uint8)
