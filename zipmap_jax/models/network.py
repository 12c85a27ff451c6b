"""ZipMap's network: from images or rays to the outputs of its heads, in one call or in phases."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.geometry.pose import decode_pose
from zipmap_jax.models.attention_backbone import AttentionBackbone
from zipmap_jax.models.backbone import Backbone
from zipmap_jax.models.cameras import Cameras
from zipmap_jax.models.config import Mixer, ZipMapConfig
from zipmap_jax.models.dense_heads import DenseHeads
from zipmap_jax.models.fast_weight_backbone import FastWeightBackbone
from zipmap_jax.models.first_tokens import FirstTokens
from zipmap_jax.models.inputs import check_flags, check_inputs, from_windows, to_windows
from zipmap_jax.models.shared_views import SharedViews
from zipmap_jax.models.state import SceneState
from zipmap_jax.nn.config import FP32, Policy
from zipmap_jax.nn.fast_weights import FastWeights, column_norms
from zipmap_jax.nn.loops import map_chunks, scan_windows
from zipmap_jax.structs import HeadOutputs, Views

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


BACKBONES: dict[Mixer, type[Backbone]] = {
    "fast_weights": FastWeightBackbone,
    "attention": AttentionBackbone,
}
"""Backbones by the mixer of their global blocks."""


@dataclasses.dataclass(frozen=True)
class Network:
    """The modules of ZipMap, and the forward passes of `update` and `read`.

    Attributes:
      config: architecture.
      policy: number formats.
      remat: recompute activations in the backward pass to save memory.
      views_axis: mesh axis that shards the views of each scene. Every method then runs inside
        `jax.shard_map` over it; fast-weight gradients are all-reduced once per layer and camera
        tokens gathered, which is exact, as the gradient is a sum.
    """

    config: ZipMapConfig
    policy: Policy = FP32
    remat: bool = False
    views_axis: str | None = None

    def __post_init__(self) -> None:
        if self.views_axis is None or self.shares_views:
            return
        window = self.config.window
        mixing = "attends to all views of a scene" if window is None else f"zips {window} at a time"
        raise UserError(
            f"a model that {mixing} cannot share views among devices: leave mesh.views at 1"
        )

    @property
    def phased(self) -> bool:
        """Whether all views are zipped together, so that `encode`, `mix` and `decode` work."""
        return self.config.window is None

    @property
    def shares_views(self) -> bool:
        """Whether the views of a scene can be sharded over devices."""
        return self.phased and BACKBONES[self.config.mixer].shares_views

    def forward(
        self,
        params: Any,
        state: SceneState,
        views: Views,
        *,
        chunk: int | None = None,
        start: SceneState | None = None,
        keep_taps: bool = False,
    ) -> tuple[SceneState, HeadOutputs, Float[Array, "4 b v p d2"] | None]:
        """`update` before the cameras are decoded, for losses, parity and probes.

        Args:
          params, state, views, chunk, start: as for `ZipMap.update`.
          keep_taps: also return the tapped features (large).

        Returns:
          The new state, outputs of the heads, and the tapped features or None.
        """
        images, mask = views.images, views.mask
        check_flags(views)
        check_inputs("images", images, 3, self.config.patch, self.backbone.layers, state, chunk)
        grid = self._grid(images.shape[2:4])
        count = images.shape[1]
        span, size = self.config.span_and_chunk(count, chunk)
        windows = span // min(self.config.window or span, span)
        first = jnp.broadcast_to(self._devices.first(count)[None], mask.shape)
        weights = FastWeights(*state.weights)
        norms = column_norms(weights if start is None else FastWeights(*start.weights))
        if span < count or windows > 1:  # the weights are carried from window to window
            weights = jax.tree.map(lambda w: _for_scenes(w, images.shape[0]), weights)
        # Fast weights get no gradient from padded views of the last chunk.
        must_mask = self.backbone.masks_padding and count % size > 0
        padded = must_mask or views.valid is not None or count % span > 0

        def one_span(weights: FastWeights, xs: Any) -> tuple[FastWeights, Any]:
            images, mask, first = xs  # axes: chunks, scenes, views of a chunk
            tokens = map_chunks(lambda x: self.encode(params, *x), (images, first))
            weights, taps, _ = self.backbone.zip_views(
                params, weights, norms, tokens, mask, grid, padded, windows
            )
            dense = self.decode(params, taps, images.shape[3:5], chunk)
            layers_last = jnp.moveaxis(taps, 1, -1) if keep_taps else None
            return weights, (dense, _camera_tokens(taps), layers_last)

        spans = tuple(to_windows(x, span, size) for x in (images, mask, first))
        weights, results = scan_windows(one_span, weights, spans)
        restore = functools.partial(from_windows, window=span, count=count)
        (depth, conf, points), camera, taps = jax.tree.map(restore, results)
        outputs = HeadOutputs(depth, conf, self.cameras(params, camera, mask), points)
        if keep_taps:
            taps = jnp.moveaxis(taps, -1, 0)
        return self._zipped(state, weights, mask), outputs, taps

    def encode(
        self, params: Any, images: Float[Array, "b c h w 3"], first: Bool[Array, "b c"]
    ) -> Float[Array, "b c p d"]:
        """Initial tokens of a chunk of views; `first` is True for the first view of a scene.

        `encode`, `mix` and `decode` are the phases of `update`, see `PhasedModel`.
        """
        return self.first_tokens.of_images(params, images, first)

    def mix(
        self,
        params: Any,
        state: SceneState,
        tokens: Float[Array, "n b c p d"],
        valid: Bool[Array, "b v"],
        size: tuple[int, int],
    ) -> tuple[SceneState, Float[Array, "n 4 b c p d2"], tuple[Array, Array], Array]:
        """Zip all views into the state at once, see `PhasedModel.mix`.

        Raises:
          UserError: the model zips window by window.
        """
        if not self.phased:
            raise UserError(
                f"mix zips all views at once, but this {self.config.variant} model has windows of "
                f"{self.config.window}: use update"
            )
        weights = FastWeights(*state.weights)
        (in_chunks,) = to_windows(valid, valid.shape[1], tokens.shape[2])
        weights, taps, tokens = self.backbone.zip_views(
            params, weights, column_norms(weights), tokens, in_chunks, self._grid(size)
        )
        camera = from_windows(
            _camera_tokens(taps)[None], window=valid.shape[1], count=valid.shape[1]
        )
        poses = self.cameras(params, camera, valid)
        cameras = decode_pose(poses[-1].astype(jnp.float32), size)
        return self._zipped(state, weights, valid), taps, cameras, tokens

    def decode(
        self,
        params: Any,
        taps: Float[Array, "n 4 b c p d2"],
        size: tuple[int, ...],
        chunk: int | None = None,
    ) -> tuple[Float[Array, "n b c h w"], Float[Array, "n b c h w"], Float[Array, "n b c h w 3"]]:
        """Depth, confidence and local points of some chunks of views, see `PhasedModel.decode`."""
        names = ("depth_head", "local_point_head")
        grid = self._grid(size)
        (depth, conf), (points, _) = self.dense_heads(params, taps, grid, names, chunk)
        assert conf is not None
        return depth[..., 0], conf, points

    def forward_rays(
        self,
        params: Any,
        state: SceneState,
        rays: Float[Array, "b v h w r"],
        *,
        chunk: int | None = None,
        keep_taps: bool = False,
    ) -> tuple[HeadOutputs, Float[Array, "4 b v p d2"] | None]:
        """Head outputs of `read`, and the tapped features if `keep_taps`, else None."""
        c = self.config
        if not c.ray_channels:
            raise UserError(
                f"the {c.variant} model cannot be queried: load a state_query checkpoint"
            )
        check_inputs("rays", rays, c.ray_channels, c.patch, self.backbone.layers, state, chunk)
        grid = self._grid(rays.shape[2:4])
        count = rays.shape[1]
        size = min(chunk or count, count)
        weights = FastWeights(*state.weights)

        def one_chunk(rays: Float[Array, "1 b c h w r"]) -> tuple[Any, Any]:
            tokens = self.first_tokens.of_rays(params, rays[0])[None]
            taps = self.backbone.read_views(params, weights, tokens, grid)
            dense = self.dense_heads(params, taps, grid, ("nvs_head",), chunk)
            return dense, jnp.moveaxis(taps, 1, -1) if keep_taps else None

        outputs = map_chunks(one_chunk, to_windows(rays, size, size))
        restore = functools.partial(from_windows, window=size, count=count)
        ((values, conf),), taps = jax.tree.map(restore, outputs)
        if keep_taps:
            taps = jnp.moveaxis(taps, -1, 0)
        return HeadOutputs(values[..., 3], conf, rgb=values[..., :3]), taps

    def patch_queries_and_keys(
        self, params: Any, taps: Float[Array, "4 b v p d2"]
    ) -> tuple[Float[Array, "b v 4 t d"], Float[Array, "b v 4 t d"]]:
        """Queries and keys of the patches in the global blocks of the tapped layers.

        Args:
          params: parameters.
          taps: tapped features from `forward`.

        Returns:
          Queries and keys of unit length, patches row by row.
        """
        frame = taps[..., self.config.special_tokens :, : self.config.width]
        layers = np.asarray(self.config.taps)
        blocks = jax.tree.map(lambda x: x[layers], params["global_blocks"])
        of_layer = jax.vmap(self.backbone.patch_queries_and_keys)
        queries, keys = (jnp.moveaxis(x, 0, 2) for x in of_layer(blocks, frame.astype(jnp.float32)))
        return queries, keys

    # Parts -------------------------------------------------------------------------------------

    @property
    def first_tokens(self) -> FirstTokens:
        return FirstTokens(self.config, self.policy, self.remat)

    @property
    def backbone(self) -> Backbone:
        kind = BACKBONES[self.config.mixer]
        return kind(self.config, self.policy, self.remat, self.views_axis)

    @property
    def cameras(self) -> Cameras:
        return Cameras(self.config, self.policy, self._devices)

    @property
    def dense_heads(self) -> DenseHeads:
        return DenseHeads(self.config, self.policy, self.remat)

    @property
    def _devices(self) -> SharedViews:
        return SharedViews(self.views_axis)

    def _zipped(
        self, state: SceneState, weights: FastWeights, mask: Bool[Array, "b v"]
    ) -> SceneState:
        zipped = self._devices.gather(mask).sum(1).astype(state.views.dtype)
        return SceneState(*weights, views=state.views + zipped)

    def _grid(self, size: tuple[int, ...]) -> tuple[int, int]:
        return size[0] // self.config.patch, size[1] // self.config.patch


def _for_scenes(w: Float[Array, "l b ..."], scenes: int) -> Float[Array, "l s ..."]:
    return jnp.broadcast_to(w, (w.shape[0], scenes, *w.shape[2:]))


def _camera_tokens(taps: Float[Array, "n 4 b c p d2"]) -> Float[Array, "n b c d2"]:
    return taps[:, 3, ..., 0, :]
