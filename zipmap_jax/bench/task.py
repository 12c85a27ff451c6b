"""Measured forward calls: offline, one streamed frame, one queried view."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval

from zipmap_jax.compilation.flops import flops_of
from zipmap_jax.errors import UserError
from zipmap_jax.models.api import Model, State, in_stored_formats
from zipmap_jax.models.config import Mixer, Variant
from zipmap_jax.models.presets import build
from zipmap_jax.nn.config import Policy
from zipmap_jax.structs import Prediction, Views

Kind = Literal["offline", "streaming", "query"]

_VARIANTS: dict[Kind, Variant] = {
    "offline": "offline",
    "streaming": "streaming",
    "query": "state_query",
}
_HEADS: dict[str, Callable[[Prediction], Any]] = {
    "camera": lambda p: (p.w2c, p.intrinsics),
    "depth": lambda p: (p.depth, p.depth_conf),
    "points": lambda p: p.local_points,
}
HEADS = tuple(_HEADS)


@dataclasses.dataclass(frozen=True)
class Task:
    """One forward call of a model.

    Attributes:
      preset: "large", "small" or "tiny".
      policy: number formats.
      size: (height, width) of the images.
      views: number of views of the call; measured streaming calls and queries have 1.
      kind: "offline" is one update over all views, "streaming" one frame added to a carried state,
        "query" one view read from a state.
      heads: computed heads, of `HEADS`; queries have their own.
      mixer: mixer of the global blocks.
      chunk: views per chunk; None = all.
    """

    preset: str
    policy: Policy
    size: tuple[int, int]
    views: int = 1
    kind: Kind = "offline"
    heads: tuple[str, ...] = ("camera", "depth")
    mixer: Mixer = "fast_weights"
    chunk: int | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.heads if name not in HEADS]
        if unknown or not self.heads:
            raise UserError(
                f"unknown heads {', '.join(unknown) or '(none)'}: choose from {', '.join(HEADS)}"
            )
        patch = self.model.preparation.patch
        if any(side < patch or side % patch for side in self.size):
            raise UserError(
                f"images of {self.size[0]}x{self.size[1]} do not divide into patches: make height "
                f"and width multiples of {patch}"
            )
        if self.views < 1:
            raise UserError(
                f"a call needs at least 1 view, got {self.views}: give --views 1 or more"
            )

    @property
    def model(self) -> Model:
        mixer: Mixer = self.mixer if self.kind == "offline" else "fast_weights"
        return build(self.preset, _VARIANTS[self.kind], self.policy, mixer)

    @property
    def padded(self) -> int:
        """Number of views, padded to whole chunks."""
        chunk = self.chunk or self.views
        return math.ceil(self.views / chunk) * chunk

    @property
    def function(self) -> Callable[..., Any]:
        """The call: `(params, images)`, or `(params, state, images or rays)`.

        Only the outputs of active heads are returned, so the compiler removes the other heads.
        """
        model, chunk = self.model, self.chunk

        def active(prediction: Prediction) -> Any:
            return {name: _HEADS[name](prediction) for name in self.heads}

        def offline(params: Any, images: jax.Array) -> Any:
            state = model.init_state(params, images.shape[0])
            # Padded to whole chunks, as in `reconstruct`.
            valid = jnp.arange(self.padded)[None] < self.views
            views = Views(images, valid if self.padded > self.views else None)
            return active(model.update(params, state, views, chunk=chunk)[1])

        def streaming(params: Any, state: State, images: jax.Array) -> Any:
            state, prediction = model.update(params, state, Views(images))
            return state, active(prediction)

        def query(params: Any, state: State, rays: jax.Array) -> Any:
            return model.read(params, state, rays)

        functions = {"offline": offline, "streaming": streaming, "query": query}
        return functions[self.kind]

    @property
    def shapes(self) -> tuple[Any, ...]:
        """Shapes of the arguments, parameters first."""
        params = in_stored_formats(jax.eval_shape(self.model.init, jax.random.key(0)), self.model)
        channels = self.model.query_channels if self.kind == "query" else 3
        images = jax.ShapeDtypeStruct((1, self.padded, *self.size, channels), jnp.float32)
        if self.kind == "offline":
            return params, images
        return params, jax.eval_shape(self.model.init_state, params), images

    def trace(self) -> Any:
        """`jax.stages.Traced` of the call; the state of a stream is donated."""
        donated = (1,) if self.kind == "streaming" else ()
        return jax.jit(self.function, donate_argnums=donated).trace(*self.shapes)

    def flops(self) -> float:
        """Operations of products and convolutions in the call, without padded views."""
        jaxpr = dataclasses.replace(self, chunk=None).trace().jaxpr.jaxpr
        # Dead code does not count, as the compiler removes it.
        needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
        return flops_of(SimpleNamespace(jaxpr=needed))


def random_inputs(task: Task) -> jax.Array:
    """Images in [0, 1], or rays, on the default device."""
    shape = task.shapes[-1].shape
    draw = jax.random.normal if task.kind == "query" else jax.random.uniform
    return jax.block_until_ready(draw(jax.random.key(1), shape))
