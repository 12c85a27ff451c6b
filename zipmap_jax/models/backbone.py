"""What the backbones share: frame blocks, tapped features and the layout of the token stream.

The stream lies as `[n, b, c, p, d]`: n chunks of c views for each of b scenes, p tokens a view.
Loops run over chunks, in place, so temporaries never exceed one chunk.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.models.shared_views import SharedViews
from zipmap_jax.nn.blocks import TransformerBlock, init_stacked
from zipmap_jax.nn.fast_weights import ColumnNorms, FastWeights
from zipmap_jax.nn.layers import apply
from zipmap_jax.nn.rope import rope_tables, token_positions

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.models.config import ZipMapConfig
    from zipmap_jax.nn.config import Policy

_T = TypeVar("_T")


# Above this size, attention computes its scores one head at a time (zipmap_jax.nn.attention).
_SCORE_BYTES = 512 * 2**20


def bytes_of_scores(heads: int, scores: int) -> int:
    """Bytes of the attention scores that are held together, given those of one head."""
    return min(heads * scores, max(scores, _SCORE_BYTES))


@dataclasses.dataclass(frozen=True)
class Backbone(abc.ABC):
    """Pure functions of stacked block parameters: frame blocks alternate with global blocks.

    Frame blocks attend within a view. Global blocks mix the views of a scene; how they do it is the
    subclass's business.

    Attributes:
      config, policy: of the model.
      remat: recompute each layer in the backward pass instead of keeping its activations.
      views_axis: mesh axis over which the views of the stream are split; see `ZipMap`.
    """

    config: ZipMapConfig
    policy: Policy
    remat: bool = False
    views_axis: str | None = None

    masks_padding: ClassVar[bool] = False
    """Whether views that fill up the last chunk must be masked out."""
    shares_views: ClassVar[bool] = True
    """Whether devices may share the views of a scene."""

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
          weights: fast weights of all layers, leading layer axis; of all scenes, or one for all.
          norms: column norms to restore, of the same axes.
          x: token stream.
          valid: False for padded views.
          grid: (rows, columns) of patches.
          padded: whether `valid` may be False anywhere.
          windows: number of windows that the views make.

        Returns:
          The new fast weights; for each tapped layer the outputs of its frame block and its global
          block, concatenated, chunks leading, so that heads run over chunks without a copy; and the
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
        """Run all layers over one chunk (n = 1), reading the fast weights and leaving them."""

    @abc.abstractmethod
    def patch_queries_and_keys(self, block: Any, x: Float[Array, "b v t d"]) -> tuple[Array, Array]:
        """Queries and keys of tokens in one global block, of unit length."""

    @abc.abstractmethod
    def mixing_bytes(self, views: int, tokens: int) -> tuple[int, int]:
        """Bytes of the fast weights' step, and of temporaries that grow with all views."""

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
        """Tap buffer each layer writes to: that of the next tap, which itself writes last."""
        layers = np.arange(self.config.depth)
        return jnp.asarray(np.searchsorted(self.config.taps, layers))

    def _empty_taps(self, x: Array) -> Array:
        return jnp.zeros((x.shape[0], 4, *x.shape[1:-1], 2 * x.shape[-1]), self.policy.taps)

    def _features(self, frame: Array, y: Array) -> Array:
        return jnp.concatenate([frame, y], -1).astype(self.policy.taps)

    def _recomputed(self, layer: Callable[..., _T]) -> Callable[..., _T]:
        """A layer of which the backward pass keeps only the input, if asked for.

        The layer as a whole: weights and gradients of every scene take more memory than tokens.
        """
        return jax.checkpoint(layer, prevent_cse=False) if self.remat else layer

    def _frame(self, block: Any, x: Float[Array, "b c p d"], grid: tuple[int, int]) -> Array:
        images = x.reshape(-1, *x.shape[2:])
        return apply(self.frame_block, block[0], images, self._rope(grid)).reshape(x.shape)

    def _rope(self, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Rotary tables of the tokens of one view."""
        positions = token_positions(self.config.special_tokens, *grid)
        head_dim = self.config.width // self.config.heads
        return rope_tables(positions, head_dim, self.config.rope_base)
