"""ZipMap as three verbs over explicit pytrees: `init_state`, `update`, `read`.

Offline reconstruction is one `update` over all views from the initial state. A streaming model
takes one fast-weight step per window of views, inside one `update` or across many. `read` renders
unseen views from their rays.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from zipmap_jax.geometry.pose import decode_pose
from zipmap_jax.images.preparation import CropOrPad
from zipmap_jax.models.api import MemoryPlan, Workload
from zipmap_jax.models.memory import plan_memory
from zipmap_jax.models.network import Network
from zipmap_jax.models.state import SceneState
from zipmap_jax.models.storage import stored_format
from zipmap_jax.structs import HeadOutputs, Prediction, Views

if TYPE_CHECKING:
    from jaxtyping import Array, Float


def decode_outputs(outputs: HeadOutputs, size: tuple[int, ...]) -> Prediction:
    """Prediction from head outputs and the (height, width) of the images."""
    assert outputs.pose_enc is not None
    w2c, intrinsics = decode_pose(outputs.pose_enc[-1].astype(jnp.float32), (size[0], size[1]))
    return Prediction(
        outputs.depth, outputs.depth_conf, w2c, intrinsics, local_points=outputs.local_points
    )


@dataclasses.dataclass(frozen=True)
class ZipMap(Network):
    """The `Model` and `PhasedModel` of ZipMap; attributes as in `Network`."""

    # Properties of the protocol -----------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.config.preset

    @property
    def default_size(self) -> int:
        return self.config.embedder.image_size

    @property
    def preparation(self) -> CropOrPad:
        return CropOrPad(self.config.patch)

    @property
    def streams(self) -> bool:
        return self.config.streams

    @property
    def query_channels(self) -> int:
        return self.config.ray_channels

    def views_per_call(self, chunk: int) -> int:
        return self.config.views_per_call(chunk)

    def stored_format(self, name: str) -> Any:
        return stored_format(name, self.policy)

    @property
    def kernels(self) -> tuple[int, int, int] | None:
        """Shape of the three fast weights of a layer, with all heads."""
        layers, heads, d, m = self.backbone.layers
        return (3 * heads, d, m) if layers else None

    def portable(self) -> ZipMap:
        """The model with XLA's attention in place of cuDNN's, which needs CUDA."""
        return dataclasses.replace(self, policy=dataclasses.replace(self.policy, attention="xla"))

    def sharded(self, axis: str) -> ZipMap:
        return dataclasses.replace(self, views_axis=axis)

    def memory(self, workload: Workload) -> MemoryPlan:
        return plan_memory(self.backbone, workload)

    # Verbs --------------------------------------------------------------------------------------

    def init(self, key: Array) -> dict[str, Any]:
        """Random fp32 parameters with the reference's distributions, except for zero biases."""
        keys = iter(jax.random.split(key, 10))
        params: dict[str, Any] = {
            **self.first_tokens.init_images(keys),
            **self.backbone.init(next(keys)),
            **self.cameras.init(next(keys)),
        }
        for name in ("depth_head", "local_point_head"):
            params[name] = self.dense_heads.init(name, next(keys))
        if self.config.ray_channels:
            params |= self.first_tokens.init_rays(keys)
            params["nvs_head"] = self.dense_heads.init("nvs_head", next(keys))
        return params

    def init_state(self, params: Any, batch: int = 1) -> SceneState:
        """The state of `batch` scenes without views."""
        weights = self.backbone.initial_weights(params, batch)
        return SceneState(*weights, views=jnp.zeros((batch,), jnp.int32))

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

        Args:
          params: from `init` or a checkpoint.
          state: from `init_state` or an earlier `update`: one state per scene, or one for all,
            which saves copies of the initial weights.
          views: images in [0, 1]; height and width multiples of the patch size. Flags other than
            `valid` are not supported.
          chunk: views per chunk, which bounds memory without changing the result. None = all. A
            streaming model keeps only its state after a chunk.
          start: first state of the stream, whose column norms every step restores, so that several
            calls equal one. None = `state`, as in the reference, whose norms shrink by some 1e-5
            per call.

        Returns:
          The new state, and the prediction at the size of the images.

        Raises:
          UserError: images, state or chunk do not fit the model or each other.
        """
        state, outputs, _ = self.forward(params, state, views, chunk=chunk, start=start)
        return state, decode_outputs(outputs, views.images.shape[2:4])

    def read(
        self,
        params: Any,
        state: SceneState,
        query: Float[Array, "b v h w r"],
        *,
        chunk: int | None = None,
    ) -> Prediction:
        """Render colour and depth of unseen views from the state, which does not change.

        Args:
          params: parameters of a state-query model.
          state: one state per scene of the rays, or one for all.
          query: ray conditions of every pixel, see `zipmap_jax.geometry.rays`.
          chunk: views per chunk. None = all.

        Raises:
          UserError: the model cannot be queried, or rays, state or chunk do not fit.
        """
        outputs, _ = self.forward_rays(params, state, query, chunk=chunk)
        return Prediction(outputs.depth, outputs.depth_conf, rgb=outputs.rgb)
