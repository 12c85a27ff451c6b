"""Camera heads: from the camera token of each view to a pose encoding."""

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


def activate_pose(encoding: Float[Array, "... 9"]) -> Float[Array, "... 9"]:
    """Translation and quaternion as they are, fields of view made non-negative."""
    is_fov = over_channels(jnp.arange(encoding.shape[-1]) >= POSE_SIZE - 2, encoding.ndim)
    return jnp.where(is_fov, jax.nn.relu(encoding), encoding)


def _neutral_pose(iterations: int) -> Any:
    """Bias that starts training at no rotation and fields of view of one radian.

    Without it the ReLU of the fields of view may start, and stay, at zero.
    """

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jnp.zeros(shape, dtype).at[-3:].set(1 / iterations)

    return init


class _Modulated(nn.Module):
    """The head around its trunk: adaptive layer norm before it, pose regression after it."""

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
        """Touch every parameter, for initialisation."""
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
    """Refines the poses of all views together, a fixed number of times with shared parameters."""

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
        """Random parameters."""
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
        """Pose encodings after every iteration; views where `valid` is False are not looked at."""
        outer = {k: v for k, v in params.items() if k != "trunk"}

        def call(method: str, *args: Array) -> Array:
            return apply(self.outer, outer, *args, method=method)

        x = call("normalise", tokens.astype(jnp.float32))

        def refine(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
            base, seen = carry
            y = run_stacked(self.block, params["trunk"], call("condition", x, seen), None, valid)
            pose = base + call("regress", y)
            fixed = lax.stop_gradient(pose)
            return (fixed, fixed), activate_pose(pose)

        start = call("empty", x)
        return lax.scan(refine, (jnp.zeros_like(start), start), length=self.config.iterations)[1]


class MlpCameraHead:
    """One MLP per view, for streaming: no mixing between views."""

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
        """Random parameters."""
        return dict(self.mlp.init(key, jnp.zeros((1, 1, self.width)))["params"])

    def __call__(
        self,
        params: Any,
        tokens: Float[Array, "b v d"],
        valid: Bool[Array, "b v"] | None = None,
    ) -> Float[Array, "1 b v 9"]:
        """Pose encodings, with a leading axis of one iteration."""
        return activate_pose(apply(self.mlp, params, tokens).astype(jnp.float32))[None]
