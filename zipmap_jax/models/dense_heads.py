"""The dense heads: from tapped features to depth, local points or a rendered view."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.nn.activations import activate
from zipmap_jax.nn.config import Policy
from zipmap_jax.nn.dpt import DenseHead
from zipmap_jax.nn.layers import apply
from zipmap_jax.nn.loops import map_chunks

if TYPE_CHECKING:
    from jaxtyping import Array, Float

# Output channels, value activation and confidence activation of each head.
HEADS: dict[str, tuple[int, str, str | None]] = {
    "depth_head": (2, "exp", "expp1"),
    "local_point_head": (3, "xy_exp", None),
    "nvs_head": (5, "sigmoid_exp", "expp1"),
}


@dataclasses.dataclass(frozen=True)
class DenseHeads:
    """Pure functions of the parameters of the dense heads; attributes as in `Network`."""

    config: ZipMapConfig
    policy: Policy
    remat: bool = False

    def init(self, name: str, key: Array) -> Any:
        """Random parameters of the head `name`."""
        taps = [jnp.zeros((1, 1, 2 * self.config.width))] * 4
        return self._head(name).init(key, taps, (1, 1))["params"]

    def __call__(
        self,
        params: Any,
        taps: Float[Array, "n 4 b c p d"],
        grid: tuple[int, int],
        names: tuple[str, ...],
        max_images: int | None = None,
    ) -> tuple[tuple[Array, Array | None], ...]:
        """Activated (values, confidence) of each head, [n, b, c, h, w, ...].

        Args:
          params: parameters of the model.
          taps: tapped features of n chunks of c views for each of b scenes.
          grid: (rows, columns) of patches.
          names: names of the heads.
          max_images: images per run of the heads, but at least a chunk of one scene; None = a
            chunk of all scenes.
        """

        def run_heads(x: Float[Array, "4 b c t d"]) -> Any:
            head = jax.checkpoint(self._run, static_argnums=(0, 3)) if self.remat else self._run
            return tuple(head(name, params[name], x, grid) for name in names)

        def one_chunk(x: Float[Array, "4 b c p d"]) -> Any:
            x = x[..., self.config.special_tokens :, :]
            scenes, views = x.shape[1:3]
            runs = _runs(scenes, views, max_images)
            parts = jnp.moveaxis(x.reshape(4, runs, -1, *x.shape[2:]), 1, 0)
            outputs = map_chunks(run_heads, parts)
            return jax.tree.map(lambda y: y.reshape(scenes, *y.shape[2:]), outputs)

        return map_chunks(one_chunk, taps)

    def _run(
        self, name: str, params: Any, x: Float[Array, "4 b c t d"], grid: tuple[int, int]
    ) -> Any:
        _, value, confidence = HEADS[name]
        levels = [level.reshape(-1, *level.shape[2:]) for level in x]
        out = activate(apply(self._head(name), params, levels, grid), value, confidence)
        return jax.tree.map(lambda y: y.reshape(*x.shape[1:3], *y.shape[1:]), out)

    def _head(self, name: str) -> DenseHead:
        d, p = self.config.dense, self.policy
        return DenseHead(
            HEADS[name][0],
            d.features,
            d.out_channels,
            d.hidden,
            self.config.patch,
            p.heads,
            p.precision,
            d.init_gain,
            d.output_scale,
        )


def _runs(scenes: int, views: int, max_images: int | None) -> int:
    """Number of equal parts of the scenes with at most `max_images` images each."""
    if max_images is None:
        return 1
    max_scenes = max(1, max_images // views)
    return next(n for n in range(-(-scenes // max_scenes), scenes + 1) if scenes % n == 0)
