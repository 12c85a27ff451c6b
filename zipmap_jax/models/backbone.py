"""Base class of the backbones: frame blocks, tapped features and the layout of the token stream.

The stream has the axes `[n, b, c, p, d]`: n chunks of c views for each of b scenes, p tokens per
view. Loops run over chunks in place, so temporaries never exceed one chunk.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zipmap_jax.models.shared_views import SharedViews
from zipmap_jax.nn.blocks import TransformerBlock, init_stacked
from zipmap_jax.nn.fast_weights import ColumnNorms, FastWeights
from zipmap_jax.nn.layers import apply
from zipmap_jax.nn.rope import rope_tables, token_positions

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.models.config import ZipMapConfig
    from zipmap_jax.nn.config import Policy

# Above this size, attention computes its scores one head at a time (zipmap_jax.nn.attention).
_SCORE_BYTES = 512 * 2**20


def bytes_of_scores(heads: int, scores: int) -> int:
    """Peak bytes of the attention scores, given the bytes of one head's."""
    return min(heads * scores, max(scores, _SCORE_BYTES))


@dataclasses.dataclass(frozen=True)
class Backbone(abc.ABC):
    """Pure functions of stacked block parameters: frame blocks alternate with global blocks.

    Frame blocks attend within a view. Global blocks, defined by a subclass, mix the views of a
    scene.

    Attributes:
      config, policy: architecture and number formats of the model.
      remat: recompute each layer in the backward pass instead of keeping its activations.
      views_axis: mesh axis that splits the views of the stream; see `Network`.
    """

    config: ZipMapConfig
    policy: Policy
    remat: bool = False
    views_axis: str | None = None

    masks_padding: ClassVar[bool] = False
    """Whether padded views of the last chunk must be masked."""
    shares_views: ClassVar[bool] = True
    """Whether the views of a scene can be sharded over devices."""

    @property
    @abc.abstractmethod
    def global_block(self) -> nn.Module:
        """The block that mixes views."""

    @property
    @abc.abstractmethod
    def layers(self) -> tuple[int, int, int, int]:
        """Layers, heads, inputs and hidden units of the fast weights."""

    @abc.abstractmethod
    def initial_weights(self, params: Any, batch: int) -> FastWeights:
        """Fast weights of scenes without views, leading axes layer and scene."""

    @abc.abstractmethod
    def zip_views(
        self,
        params: Any,
        weights: FastWeights,
        norms: ColumnNorms,
        x: Float[Array, "n b c p d"],
        valid: Bool[Array, "n b c"],
        grid: tuple[int, int],
        padded: bool = True,
        windows: int = 1,
    ) -> tuple[FastWeights, Float[Array, "n 4 b c p d2"], Float[Array, "n b c p d"]]:
        """Run all layers over the stream.

        Args:
          params: tree with `frame_blocks` and `global_blocks`.
          weights: fast weights with a leading layer axis, one per scene or one for all.
          norms: column norms to restore, with the axes of `weights`.
          x: token stream.
          valid: False for padded views.
          grid: (rows, columns) of patches.
          padded: whether `valid` may be False anywhere.
          windows: number of windows in the views; more than one needs a single chunk and one set
            of weights per scene.

        Returns:
          The new fast weights; for each tapped layer the outputs of its frame block and its global
          block, concatenated, chunks leading, so that heads run over chunks without a copy; the
          stream after the last layer.
        """

    @abc.abstractmethod
    def read_views(
        self,
        params: Any,
        weights: FastWeights,
        x: Float[Array, "n b c p d"],
        grid: tuple[int, int],
    ) -> Float[Array, "n 4 b c p d2"]:
        """Run all layers over one chunk (n = 1) with constant fast weights."""

    @abc.abstractmethod
    def patch_queries_and_keys(self, block: Any, x: Float[Array, "b v t d"]) -> tuple[Array, Array]:
        """Queries and keys of tokens in one global block, of unit length."""

    @abc.abstractmethod
    def mixing_bytes(self, views: int, tokens: int) -> tuple[int, int]:
        """Bytes of a fast-weight step, and of temporaries that grow with the number of views."""

    @property
    def frame_block(self) -> TransformerBlock:
        return TransformerBlock(
            heads=self.config.heads,
            epsilon=1e-5,
            qk_norm=True,
            mlp_ratio=self.config.mlp_ratio,
            layer_scale_init=self.config.layer_scale_init,
            dtype=self.policy.compute,
            precision=self.policy.precision,
            attention=self.policy.attention,
        )

    def init(self, key: Array) -> dict[str, Any]:
        """Random block parameters, stacked over layers."""
        keys = jax.random.split(key)
        c = self.config
        tokens = jnp.zeros((1, 1, c.width))
        return {
            "frame_blocks": init_stacked(self.frame_block, keys[0], c.depth, tokens),
            "global_blocks": init_stacked(self.global_block, keys[1], c.depth, tokens),
        }

    @property
    def _devices(self) -> SharedViews:
        return SharedViews(self.views_axis)

    @property
    def _tap_indices(self) -> Array:
        """Tap buffer of each layer: that of the next tapped layer, which overwrites it last."""
        layers = np.arange(self.config.depth)
        return jnp.asarray(np.searchsorted(self.config.taps, layers))

    def _empty_taps(self, x: Array) -> Array:
        return jnp.zeros((x.shape[0], 4, *x.shape[1:-1], 2 * x.shape[-1]), self.policy.taps)

    def _features(self, frame: Array, y: Array) -> Array:
        return jnp.concatenate([frame, y], -1).astype(self.policy.taps)

    def _scan(self, layer: Callable[..., Any], params: Any, x: Array, *per_layer: Any) -> Any:
        """Scan `layer((stream, taps), (blocks, *per_layer, tap))` over all layers."""
        if self.remat:
            # Whole layers: weights and gradients of every scene take more memory than tokens.
            layer = jax.checkpoint(layer, prevent_cse=False)
        blocks = (params["frame_blocks"], params["global_blocks"])
        return lax.scan(layer, (x, self._empty_taps(x)), (blocks, *per_layer, self._tap_indices))

    def _frame(self, block: Any, x: Float[Array, "b c p d"], grid: tuple[int, int]) -> Array:
        images = x.reshape(-1, *x.shape[2:])
        return apply(self.frame_block, block[0], images, self._rope(grid)).reshape(x.shape)

    def _rope(self, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Rotary tables of the tokens of one view."""
        positions = token_positions(self.config.special_tokens, *grid)
        head_dim = self.config.width // self.config.heads
        return rope_tables(positions, head_dim, self.config.rope_base)
