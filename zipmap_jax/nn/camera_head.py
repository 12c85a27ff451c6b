"""Camera heads: pose encodings from the camera token of each view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from zipmap_jax.nn.blocks import TransformerBlock, init_stacked, run_stacked
from zipmap_jax.nn.layers import Mlp, apply, layer_norm, over_channels, torch_uniform

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float

    from zipmap_jax.nn.config import CameraHeadConfig, Policy

POSE_SIZE = 9
"""Numbers of a pose encoding, see `geometry.encode_pose`."""


def activate_pose(encoding: Float[Array, "... 9"]) -> Float[Array, "... 9"]:
    """Applies a ReLU to the fields of view; translation and quaternion stay unchanged.

    Args:
      encoding: raw pose encodings.

    Returns:
      Pose encodings with non-negative fields of view in radians.
    """
    is_fov = over_channels(jnp.arange(encoding.shape[-1]) >= POSE_SIZE - 2, encoding.ndim)
    return jnp.where(is_fov, jax.nn.relu(encoding), encoding)


def _neutral_pose(iterations: int) -> Any:
    """Initial bias that yields no rotation and fields of view of one radian.

    With a zero bias the ReLU of the fields of view may start at zero, where its gradient is zero.
    """

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jnp.zeros(shape, dtype).at[-3:].set(1 / iterations)

    return init


class _Modulated(nn.Module):
    """Layers before and after the trunk: adaptive layer norm and pose regression."""

    width: int
    pose_size: int
    iterations: int
    output_scale: float
    dtype: Any
    precision: Any

    def setup(self) -> None:
        formats: dict[str, Any] = dict(
            dtype=self.dtype, precision=self.precision, kernel_init=torch_uniform
        )
        self.empty_pose_tokens = self.param(
            "empty_pose_tokens", nn.initializers.zeros, (1, 1, self.pose_size)
        )
        self.embed_pose = nn.Dense(self.width, **formats)
        self.modulation = nn.Dense(3 * self.width, **formats)
        self.token_norm = layer_norm(1e-5)
        self.trunk_norm = layer_norm(1e-5)
        self.adaptive_norm = layer_norm(1e-6, affine=False)
        bias = _neutral_pose(self.iterations)
        self.branch = Mlp(
            self.width // 2,
            self.pose_size,
            out_scale=self.output_scale,
            bias_init=bias,
            **formats,
        )

    def __call__(self, tokens: Array) -> Array:
        """Uses every parameter; called for initialisation only."""
        x = self.normalise(tokens)
        return self.regress(self.condition(x, self.empty(x)))

    def normalise(self, tokens: Float[Array, "b v d"]) -> Float[Array, "b v d"]:
        return self.token_norm(tokens)

    def empty(self, tokens: Float[Array, "b v d"]) -> Float[Array, "b v e"]:
        return jnp.broadcast_to(self.empty_pose_tokens, (*tokens.shape[:2], self.pose_size))

    def condition(
        self, tokens: Float[Array, "b v d"], pose: Float[Array, "b v e"]
    ) -> Float[Array, "b v d"]:
        modulation = self.modulation(jax.nn.silu(self.embed_pose(pose)))
        shift, scale, gate = jnp.split(modulation.astype(jnp.float32), 3, axis=-1)
        return gate * (self.adaptive_norm(tokens) * (1 + scale) + shift) + tokens

    def regress(self, x: Float[Array, "b v d"]) -> Float[Array, "b v e"]:
        return self.branch(self.trunk_norm(x)).astype(jnp.float32)


class IterativeCameraHead:
    """Iterative refinement of the pose encodings of all views by one transformer.

    Every iteration uses the same parameters. Its input is the pose of the last iteration, through
    which no gradient flows.

    Args:
      config: depth, heads and iterations.
      width: channels of the camera tokens.
      policy: number formats.

    Source: ZipMap (arXiv 2603.04385), camera head; the design is VGGT's (Wang et al., CVPR 2025).
    """

    def __init__(self, config: CameraHeadConfig, width: int, policy: Policy) -> None:
        self.config, self.width = config, width
        formats: dict[str, Any] = dict(dtype=policy.heads, precision=policy.precision)
        self.outer = _Modulated(width, POSE_SIZE, config.iterations, config.output_scale, **formats)
        self.block = TransformerBlock(
            heads=config.heads,
            epsilon=1e-5,
            attention="xla",
            layer_scale_init=config.layer_scale_init,
            **formats,
        )

    def init(self, key: Array) -> dict[str, Any]:
        """Returns random parameters."""
        tokens = jnp.zeros((1, 1, self.width))
        keys = jax.random.split(key)
        trunk = init_stacked(self.block, keys[1], self.config.depth, tokens)
        return {**self.outer.init(keys[0], tokens)["params"], "trunk": trunk}

    def __call__(
        self,
        params: Any,
        tokens: Float[Array, "b v d"],
        valid: Bool[Array, "b v"] | None = None,
    ) -> Float[Array, "i b v 9"]:
        """Pose encodings after every iteration.

        Args:
          params: parameters of `init`.
          tokens: camera tokens.
          valid: views that are attended to; None = all.

        Returns:
          Activated pose encodings, one per iteration.
        """
        outer = {k: v for k, v in params.items() if k != "trunk"}

        def call(method: str, *args: Array) -> Array:
            return apply(self.outer, outer, *args, method=method)

        x = call("normalise", tokens.astype(jnp.float32))

        def refine(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
            base, previous = carry
            conditioned = call("condition", x, previous)
            y = run_stacked(self.block, params["trunk"], conditioned, None, valid)
            pose = base + call("regress", y)
            fixed = lax.stop_gradient(pose)
            return (fixed, fixed), activate_pose(pose)

        empty = call("empty", x)
        return lax.scan(refine, (jnp.zeros_like(empty), empty), length=self.config.iterations)[1]


class MlpCameraHead:
    """An MLP on each view's camera token, for streaming; views do not interact.

    Args:
      config: initial scale of the last layer.
      width: channels of the camera tokens.
      policy: number formats.

    Source: ZipMap (arXiv 2603.04385), streaming variant.
    """

    def __init__(self, config: CameraHeadConfig, width: int, policy: Policy) -> None:
        self.width = width
        self.mlp = Mlp(
            4 * width,
            POSE_SIZE,
            dtype=policy.heads,
            precision=policy.precision,
            out_scale=config.output_scale,
            bias_init=_neutral_pose(1),
        )

    def init(self, key: Array) -> dict[str, Any]:
        """Returns random parameters."""
        return dict(self.mlp.init(key, jnp.zeros((1, 1, self.width)))["params"])

    def __call__(
        self,
        params: Any,
        tokens: Float[Array, "b v d"],
        valid: Bool[Array, "b v"] | None = None,
    ) -> Float[Array, "1 b v 9"]:
        """Pose encodings of all views.

        Args:
          params: parameters of `init`.
          tokens: camera tokens.
          valid: unused, as views do not interact.

        Returns:
          Activated pose encodings, with a leading axis of one iteration.
        """
        return activate_pose(apply(self.mlp, params, tokens).astype(jnp.float32))[None]
