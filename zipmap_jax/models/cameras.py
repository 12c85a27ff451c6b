"""The camera head: from the camera tokens of all views to their poses."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.shared_views import SharedViews
from zipmap_jax.nn.camera_head import IterativeCameraHead, MlpCameraHead
from zipmap_jax.nn.config import Policy

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


@dataclasses.dataclass(frozen=True)
class Cameras:
    """Pure functions of the camera head's parameters.

    Attributes:
      config, policy: architecture and number formats of the model.
      devices: collectives over the devices that share the views.
    """

    config: ZipMapConfig
    policy: Policy
    devices: SharedViews = SharedViews()

    @property
    def name(self) -> str:
        """Key of the head in the parameters."""
        return "camera_mlp_head" if self.config.camera.kind == "mlp" else "camera_head"

    @property
    def head(self) -> IterativeCameraHead | MlpCameraHead:
        width = 2 * self.config.width
        if self.config.camera.kind == "mlp":
            return MlpCameraHead(self.config.camera, width, self.policy)
        return IterativeCameraHead(self.config.camera, width, self.policy)

    def init(self, key: Array) -> dict[str, Any]:
        """Random parameters under the key `name`."""
        return {self.name: self.head.init(key)}

    def __call__(
        self, params: Any, tokens: Float[Array, "b v d2"], mask: Bool[Array, "b v"]
    ) -> Float[Array, "i b v 9"]:
        """Pose encodings after each iteration, for this device's camera tokens.

        Args:
          params: parameters of the model.
          tokens: camera tokens of this device's views.
          mask: False for padded views.
        """
        gather = self.devices.gather
        poses = self.head(params[self.name], gather(tokens), gather(mask))
        return self.devices.own(poses, tokens.shape[1], axis=2)
