"""The forward calls that are measured: offline, one streamed frame, one queried view."""

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
      views: of the call; a call of the streaming model or a query that is measured has 1.
      kind: "offline" is one update over all views, "streaming" one frame into a state that is
        carried on, "query" one view read from a state.
      heads: which of `HEADS` are computed; a query has its own.
      mixer: of the global blocks.
      chunk: views worked on at a time; None = all.
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
                f"images of {self.size[0]}x{self.size[1]} are not made of patches: make height and "
                f"width multiples of {patch}"
            )
        if self.views < 1:
            raise UserError(
                f"there must be at least 1 view, got {self.views}: give --views 1 or more"
            )

    @property
    def model(self) -> Model:
        mixer: Mixer = self.mixer if self.kind == "offline" else "fast_weights"
        return build(self.preset, _VARIANTS[self.kind], self.policy, mixer)

    @property
    def padded(self) -> int:
        """Views of the call, filled up to whole chunks."""
        chunk = self.chunk or self.views
        return math.ceil(self.views / chunk) * chunk

    @property
    def function(self) -> Callable[..., Any]:
        """The call: `(params, images)`, or `(params, state, images or rays)`.

        Heads that are not asked for are not returned, so the compiler leaves them out.
        """
        model, chunk = self.model, self.chunk

        def chosen(prediction: Prediction) -> Any:
            return {name: _HEADS[name](prediction) for name in self.heads}

        def offline(params: Any, images: jax.Array) -> Any:
            state = model.init_state(params, images.shape[0])
            # Filled up to whole chunks, as `reconstruct` does.
            valid = jnp.arange(self.padded)[None] < self.views
            views = Views(images, valid if self.padded > self.views else None)
            return chosen(model.update(params, state, views, chunk=chunk)[1])

        def streaming(params: Any, state: State, images: jax.Array) -> Any:
            state, prediction = model.update(params, state, Views(images))
            return state, chosen(prediction)

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
        """`jax.stages.Traced` of the call; a streamed state is given away."""
        donated = (1,) if self.kind == "streaming" else ()
        return jax.jit(self.function, donate_argnums=donated).trace(*self.shapes)

    def flops(self) -> float:
        """Products and convolutions of the call, without what chunks that do not divide add."""
        jaxpr = dataclasses.replace(self, chunk=None).trace().jaxpr.jaxpr
        # As the compiler does: what no output needs is not computed.
        needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
        return flops_of(SimpleNamespace(jaxpr=needed))


def random_inputs(task: Task) -> jax.Array:
    """Images in [0, 1], or rays, on the default device."""
    shape = task.shapes[-1].shape
    draw = jax.random.normal if task.kind == "query" else jax.random.uniform
    return jax.block_until_ready(draw(jax.random.key(1), shape))
