"""ZipMap as three verbs over explicit pytrees: `init_state`, `update`, `read`.

Offline reconstruction is one `update` over all views from the initial state. A streaming model
takes one fast-weight step per window of views, inside one `update` or across many. `read` renders
views that were never seen from their rays.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from zipmap_jax.errors import UserError
from zipmap_jax.models.aggregator import Aggregator
from zipmap_jax.models.cameras import Cameras
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.dense_heads import DenseHeads
from zipmap_jax.models.first_tokens import FirstTokens
from zipmap_jax.models.global_attention import AttentionAggregator
from zipmap_jax.models.inputs import check_inputs, from_windows, to_windows
from zipmap_jax.models.loops import map_chunks, scan_windows
from zipmap_jax.models.shared_views import SharedViews
from zipmap_jax.nn.config import FP32, Policy
from zipmap_jax.nn.fast_weights import FastWeights, column_norms
from zipmap_jax.structs import Prediction, SceneState, Views

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


@dataclasses.dataclass(frozen=True)
class ZipMap:
    """A model: hashable, holds no arrays, every method a pure function.

    Attributes:
      config: architecture.
      policy: number formats.
      remat: trade compute for memory in the backward pass.
      views_axis: name of a mesh axis. Then every method runs inside `jax.shard_map` over it, on
        this device's share of the views of each scene: the gradients of the fast weights are
        all-reduced (once a layer), camera tokens gathered. Exact, as the gradient is a sum.
    """

    config: ZipMapConfig
    policy: Policy = FP32
    remat: bool = False
    views_axis: str | None = None

    def __post_init__(self) -> None:
        if self.views_axis is not None and self.config.window is not None:
            raise UserError(
                f"a {self.config.variant} model zips {self.config.window} views after the other, "
                "so devices cannot share them: leave mesh.views at 1"
            )
        if self.views_axis is not None and self.config.mixer == "attention":
            raise UserError(
                "attention is among all views of a scene, so devices cannot share them: leave "
                "mesh.views at 1, or choose mixer fast_weights"
            )

    def init(self, key: Array) -> dict[str, Any]:
        """Random parameters, as a nested dictionary of fp32 arrays.

        Drawn as in the reference, but biases start at zero.
        """
        keys = iter(jax.random.split(key, 10))
        params: dict[str, Any] = {
            **self.first_tokens.init_images(keys),
            **self.aggregator.init(next(keys)),
            **self.cameras.init(next(keys)),
        }
        for name in ("depth_head", "local_point_head"):
            params[name] = self.dense_heads.init(name, next(keys))
        if self.config.ray_channels:
            params |= self.first_tokens.init_rays(keys)
            params["nvs_head"] = self.dense_heads.init("nvs_head", next(keys))
        return params

    def init_state(self, params: Any, batch: int = 1) -> SceneState:
        """The state of `batch` scenes of which nothing has been seen yet.

        Of a model that mixes by attention it holds fast weights of zero layers.
        """
        if self.config.mixer == "attention":
            _, heads, d, m = self._fast_shape
            wide, tall = jnp.zeros((0, batch, heads, d, m)), jnp.zeros((0, batch, heads, m, d))
            return SceneState(wide, tall, wide, views=jnp.zeros((batch,), jnp.int32))
        ttt = params["global_blocks"]["ttt"]
        tiled = [
            jnp.broadcast_to(ttt[name][:, None], (w.shape[0], batch, *w.shape[1:]))
            for name in ("w0", "w1", "w2")
            for w in [ttt[name]]
        ]
        return SceneState(*tiled, views=jnp.zeros((batch,), jnp.int32))

    def update(
        self,
        params: Any,
        state: SceneState,
        views: Views,
        *,
        chunk: int | None = None,
        start: SceneState | None = None,
    ) -> tuple[SceneState, Prediction]:
        """Zip views into the state and predict their cameras and geometry.

        With mixer "attention" views see those of the same call alone: the state only counts them.

        Args:
          params: from `init` or a checkpoint.
          state: from `init_state` or an earlier `update`; of as many scenes as there are images of,
            or of one, from which all of them start: with `init_state(params)` that saves a copy of
            the initial weights per scene.
          views: images; height and width multiples of the patch size.
          chunk: views worked on at once; bounds memory and does not change the result. None = all.
            A streaming model is done with a layer for a chunk before the next layer, and forgets
            all but its state after a chunk: only images and predictions grow with their number.
          start: the state that the stream began with: every step restores the norms of its columns.
            None = `state`, as in the reference, whose norms shrink by some 1e-5 a call. With it a
            stream that is cut into calls is that of one call.

        Returns:
          The new state, and the prediction at the size of the images.

        Raises:
          UserError: if images, state or chunk do not fit the model or each other.
        """
        state, prediction, _ = self._update(params, state, views, chunk, start, keep_taps=False)
        return state, prediction

    def update_with_taps(
        self, params: Any, state: SceneState, views: Views, *, chunk: int | None = None
    ) -> tuple[SceneState, Prediction, Float[Array, "4 b v p d2"]]:
        """`update` that also returns the tapped features (large: for parity work and probes)."""
        return self._update(params, state, views, chunk, None, keep_taps=True)

    def patch_queries_and_keys(
        self, params: Any, taps: Float[Array, "4 b v p d2"]
    ) -> tuple[Float[Array, "b v 4 t d"], Float[Array, "b v 4 t d"]]:
        """Queries and keys of the patches in the global blocks of the tapped layers.

        Args:
          params: the parameters.
          taps: from `update_with_taps`.

        Returns:
          Both of unit length, patches row by row.
        """
        frame = taps[..., self.config.special_tokens :, : self.config.width]
        layers = np.asarray(self.config.taps)
        blocks = jax.tree.map(lambda x: x[layers], params["global_blocks"])
        found = jax.vmap(self.aggregator.patch_queries_and_keys)(blocks, frame.astype(jnp.float32))
        queries, keys = (jnp.moveaxis(x, 0, 2) for x in found)
        return queries, keys

    def _update(
        self,
        params: Any,
        state: SceneState,
        views: Views,
        chunk: int | None,
        start: SceneState | None,
        *,
        keep_taps: bool,
    ) -> tuple[SceneState, Prediction, Any]:
        images, mask = views.images, views.mask
        check_inputs("images", images, 3, self.config.patch, self._fast_shape, state, chunk)
        grid = self._grid(images)
        count = images.shape[1]
        together, size = self.config.at_once(count, chunk)
        windows = together // min(self.config.window or together, together)
        first = jnp.broadcast_to(self._devices.first(count)[None], mask.shape)
        weights = FastWeights(*state.weights)
        norms = column_norms(weights if start is None else FastWeights(*start.weights))
        if together < count or windows > 1:  # then weights are carried from window to window
            weights = jax.tree.map(lambda w: _for_scenes(w, images.shape[0]), weights)
        # Attention must not see what fills the last chunk; to fast weights it adds no gradient.
        filled = self.config.mixer == "attention" and count % size > 0
        padded = filled or views.valid is not None or count % together > 0

        def one_span(weights: FastWeights, xs: Any) -> tuple[FastWeights, Any]:
            images, mask, first = xs  # axes: chunks, scenes, views of a chunk
            tokens = map_chunks(lambda x: self.embed(params, *x), (images, first))
            weights, taps, _ = self.aggregator.zip_views(
                params, weights, norms, tokens, mask, grid, padded, windows
            )
            dense = self.dense(params, taps, images.shape[3:5], chunk)
            kept = jnp.moveaxis(taps, 1, -1) if keep_taps else None
            return weights, (dense, _camera_tokens(taps), kept)

        spans = tuple(to_windows(x, together, size) for x in (images, mask, first))
        weights, outputs = scan_windows(one_span, weights, spans)
        restore = functools.partial(from_windows, window=together, count=count)
        (depth, conf, points), camera, taps = jax.tree.map(restore, outputs)
        prediction = Prediction(depth, conf, self.cameras(params, camera, mask), points)
        if keep_taps:
            taps = jnp.moveaxis(taps, -1, 0)
        return self._zipped(state, weights, mask), prediction, taps

    def embed(
        self, params: Any, images: Float[Array, "b c h w 3"], first: Bool[Array, "b c"]
    ) -> Float[Array, "b c p d"]:
        """The tokens that a chunk of views starts from: of camera, registers and patches.

        `embed`, `zip_tokens` and `dense` are `update` in parts, for callers that keep little on the
        device: images go in, and predictions come out, chunk by chunk.

        Args:
          params: the parameters.
          images: of c views of each of b scenes, see `Views`.
          first: True for the first view of a scene.
        """
        return self.first_tokens.of_images(params, images, first)

    def zip_tokens(
        self,
        params: Any,
        state: SceneState,
        tokens: Float[Array, "n b c p d"],
        valid: Bool[Array, "b v"],
        size: tuple[int, int],
    ) -> tuple[SceneState, Float[Array, "n 4 b c p d2"], Float[Array, "i b v 9"], Array]:
        """Zip all views into the state at once.

        Args:
          params: the parameters.
          state: as of `update`.
          tokens: from `embed`, n chunks of c views.
          valid: False for padded views; n c in all.
          size: (height, width) of the images.

        Returns:
          The new state, the tapped features for `dense`, the pose encodings, and the tokens after
          the last layer: nobody needs them, but they can take the place of those given.

        Raises:
          UserError: if the model zips one window after the other.
        """
        if self.config.window is not None:
            raise UserError(
                f"a {self.config.variant} model zips {self.config.window} views after the other, "
                "not all at once: use update"
            )
        weights = FastWeights(*state.weights)
        (in_chunks,) = to_windows(valid, valid.shape[1], tokens.shape[2])
        weights, taps, tokens = self.aggregator.zip_views(
            params, weights, column_norms(weights), tokens, in_chunks, self._grid_of(size)
        )
        camera = from_windows(
            _camera_tokens(taps)[None], window=valid.shape[1], count=valid.shape[1]
        )
        poses = self.cameras(params, camera, valid)
        return self._zipped(state, weights, valid), taps, poses, tokens

    def dense(
        self,
        params: Any,
        taps: Float[Array, "n 4 b c p d2"],
        size: tuple[int, ...],
        most: int | None = None,
    ) -> tuple[Float[Array, "n b c h w"], Float[Array, "n b c h w"], Float[Array, "n b c h w 3"]]:
        """Depth, its confidence and local points of some chunks of views, see `Prediction`.

        Args:
          params: the parameters.
          taps: tapped features.
          size: (height, width) of the images.
          most: images worked on at once, see `DenseHeads`.
        """
        names = ("depth_head", "local_point_head")
        grid = self._grid_of(size)
        (depth, conf), (points, _) = self.dense_heads(params, taps, grid, names, most)
        assert conf is not None
        return depth[..., 0], conf, points

    def read(
        self,
        params: Any,
        state: SceneState,
        rays: Float[Array, "b v h w r"],
        *,
        chunk: int | None = None,
    ) -> Prediction:
        """Render colour and depth of unseen views from the state, which stays as it is.

        Args:
          params: of a state-query model.
          state: a zipped scene for each scene of the rays, or one for all.
          rays: ray conditions of every pixel, see `zipmap_jax.geometry.rays`.
          chunk: views worked on at once. None = all.

        Raises:
          UserError: if the model cannot be queried, or rays, state or chunk do not fit.
        """
        return self._read(params, state, rays, chunk, keep_taps=False)[0]

    def read_with_taps(
        self,
        params: Any,
        state: SceneState,
        rays: Float[Array, "b v h w r"],
        *,
        chunk: int | None = None,
    ) -> tuple[Prediction, Float[Array, "4 b v p d2"]]:
        """`read` that also returns the tapped features."""
        return self._read(params, state, rays, chunk, keep_taps=True)

    def _read(
        self, params: Any, state: SceneState, rays: Array, chunk: int | None, *, keep_taps: bool
    ) -> tuple[Prediction, Any]:
        self._require_query()
        c = self.config
        check_inputs("rays", rays, c.ray_channels, c.patch, self._fast_shape, state, chunk)
        grid = self._grid(rays)
        count = rays.shape[1]
        size = min(chunk or count, count)
        weights = FastWeights(*state.weights)

        def one_chunk(rays: Float[Array, "1 b c h w r"]) -> tuple[Any, Any]:
            tokens = self.first_tokens.of_rays(params, rays[0])[None]
            taps = self.aggregator.read_views(params, weights, tokens, grid)
            dense = self.dense_heads(params, taps, grid, ("nvs_head",), chunk)
            return dense, jnp.moveaxis(taps, 1, -1) if keep_taps else None

        outputs = map_chunks(one_chunk, to_windows(rays, size, size))
        restore = functools.partial(from_windows, window=size, count=count)
        ((values, conf),), taps = jax.tree.map(restore, outputs)
        if keep_taps:
            taps = jnp.moveaxis(taps, -1, 0)
        return Prediction(values[..., 3], conf, rgb=values[..., :3]), taps

    # Parts -------------------------------------------------------------------------------------

    @property
    def first_tokens(self) -> FirstTokens:
        return FirstTokens(self.config, self.policy, self.remat)

    @property
    def aggregator(self) -> Aggregator:
        kind = AttentionAggregator if self.config.mixer == "attention" else Aggregator
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
        seen = state.views + self._devices.gather(mask).sum(1).astype(state.views.dtype)
        return SceneState(*weights, views=seen)

    def _grid(self, images: Array) -> tuple[int, int]:
        return self._grid_of(images.shape[2:4])

    def _grid_of(self, size: tuple[int, ...]) -> tuple[int, int]:
        return size[0] // self.config.patch, size[1] // self.config.patch

    @property
    def _fast_shape(self) -> tuple[int, int, int, int]:
        """Layers, heads, inputs and units of the fast weights; attention has no layer of them."""
        c = self.config
        d = c.width // c.fast.heads
        layers = c.depth if c.mixer == "fast_weights" else 0
        return layers, c.fast.heads, d, c.fast.hidden_multiple * d

    def _require_query(self) -> None:
        """Refuse to read from a model that was not made for it."""
        if self.config.mixer == "attention":
            raise UserError(
                "attention has no state that could be read: load a state_query checkpoint"
            )
        if not self.config.ray_channels:
            raise UserError(
                f"the {self.config.variant} model cannot be queried: load a state_query checkpoint"
            )


def _for_scenes(w: Float[Array, "l b ..."], scenes: int) -> Float[Array, "l s ..."]:
    return jnp.broadcast_to(w, (w.shape[0], scenes, *w.shape[2:]))


def _camera_tokens(taps: Float[Array, "n 4 b c p d2"]) -> Float[Array, "n b c d2"]:
    return taps[:, 3, ..., 0, :]
