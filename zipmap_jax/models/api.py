"""The model protocol, the only interface that inference, batches, evaluation and export use.

A model is hashable and holds no arrays; every method is a pure function of explicit pytrees. The
state of a scene is an opaque pytree that only its model reads.

    state = model.init_state(params, batch)
    state, prediction = model.update(params, state, Views(images))
    rendered = model.read(params, state, query)

A checkpoint card names its model in the entry `model`; `zipmap_jax.convert.registry` maps that name
to the configuration class and the model class.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import jax

from zipmap_jax.structs import Prediction, Views

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Array, Bool, Float, Shaped, UInt8

    from zipmap_jax.geometry.pixel_map import PixelMap
    from zipmap_jax.nn.config import Policy

_T = TypeVar("_T")

Params = Any
"""Parameters of a model: a nested dictionary of arrays, or of their shapes."""
State = Any
"""State of a batch of scenes: an opaque pytree of the model."""
Size = tuple[int, int]
"""(height, width) in pixels."""


class Preparation(Protocol):
    """Conversion of pictures to network images, and the maps back to the original pixels."""

    @property
    def patch(self) -> int:
        """Divisor of both sides of network images, in pixels."""
        ...

    def resized_shape(self, original: Size, size: int, mode: str) -> Size:
        """Size of a picture after resizing, before cropping or padding.

        Args:
          original: size of the picture.
          size: network image size.
          mode: method of fitting the picture, such as "crop" or "pad".

        Raises:
          UserError: the size or the mode is invalid, or the picture does not fit the network.
        """
        ...

    def network_shape(self, originals: list[Size], size: int, mode: str) -> Size:
        """Common size of the network images of pictures of these sizes."""
        ...

    def fit(
        self, image: UInt8[np.ndarray, "h w 3"], size: int, mode: str
    ) -> tuple[UInt8[np.ndarray, "h2 w2 3"], PixelMap]:
        """A network image before padding, and its map to the original pixels."""
        ...

    def pad(
        self, image: UInt8[np.ndarray, "h w 3"], pixel_map: PixelMap, shape: Size
    ) -> tuple[UInt8[np.ndarray, "h2 w2 3"], PixelMap]:
        """The network image padded to `shape`, and its map."""
        ...

    def normalise(self, images: Shaped[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
        """Network images in the value range of the model; runs on the device."""
        ...


@dataclasses.dataclass(frozen=True)
class Workload:
    """Inputs of the memory estimate of a reconstruction.

    Attributes:
      model: the model.
      parameter_bytes: bytes of the weights on the device.
      original_sizes: (height, width) of every image of the scene.
      network_size: (height, width) of the network images.
      chunk: views per chunk; None = all.
      devices: number of devices that share the views.
      in_place: whether nested loops over layers and chunks keep one copy of the token stream, as
        on GPUs; on the CPU the compiler keeps two.
      whole: whether one program holds all images and predictions on the device, as
        `Model.update` in a plain `jax.jit` does.
    """

    model: Model
    parameter_bytes: int
    original_sizes: tuple[Size, ...]
    network_size: Size
    chunk: int | None = None
    devices: int = 1
    in_place: bool = False
    whole: bool = False

    @property
    def views(self) -> int:
        return len(self.original_sizes)

    @property
    def share(self) -> int:
        """Views per device."""
        return math.ceil(self.views / self.devices)

    @property
    def plan(self) -> MemoryPlan:
        """Bytes on each device."""
        return self.model.memory(self)

    @property
    def live_chunk(self) -> int:
        """Views per chunk on each device."""
        return self.plan.live_chunk


class MemoryPlan(Protocol):
    """Bytes on a device during a reconstruction."""

    @property
    def live_chunk(self) -> int:
        """Views per chunk."""
        ...

    @property
    def total(self) -> int:
        """Peak bytes."""
        ...

    @property
    def text(self) -> str:
        """The parts in one line, in GB."""
        ...


class Model(Protocol):
    """A model from images to cameras and geometry, implemented as a frozen dataclass."""

    @property
    def policy(self) -> Policy:
        """Number formats."""
        ...

    @property
    def name(self) -> str:
        """Short name of the configuration."""
        ...

    @property
    def default_size(self) -> int:
        """Network image size in pixels, for cards that name none."""
        ...

    @property
    def preparation(self) -> Preparation:
        """Conversion between pictures and network images."""
        ...

    @property
    def streams(self) -> bool:
        """Whether several updates give the result of one update over all their views."""
        ...

    @property
    def phased(self) -> bool:
        """Whether the model is a `PhasedModel`."""
        ...

    @property
    def shares_views(self) -> bool:
        """Whether the views of a scene can be sharded over devices; see `PhasedModel.sharded`."""
        ...

    @property
    def query_channels(self) -> int:
        """Channels per pixel of the queries of `read`; 0 = the model cannot be queried."""
        ...

    def views_per_call(self, chunk: int) -> int:
        """Views per call of a streaming model: those of a chunk, or its minimum if that is more."""
        ...

    def stored_format(self, name: str) -> Any:
        """Number format of the parameter `name` ("a/b/c") in inference."""
        ...

    @property
    def kernels(self) -> tuple[int, int, int] | None:
        """Shape [n, rows, columns] of the matrices of a layer's Pallas kernels; None = none."""
        ...

    def portable(self) -> Model:
        """The same model without platform-specific operations."""
        ...

    def memory(self, workload: Workload) -> MemoryPlan:
        """Estimated bytes on each device, by part."""
        ...

    def init(self, key: Any) -> Params:
        """Random parameters."""
        ...

    def init_state(self, params: Params, batch: int = 1) -> State:
        """State of `batch` scenes without views."""
        ...

    def update(
        self,
        params: Params,
        state: State,
        views: Views,
        *,
        chunk: int | None = None,
        start: State | None = None,
    ) -> tuple[State, Prediction]:
        """Add views to the state and predict their cameras and geometry.

        Args:
          params: parameters.
          state: from `init_state` or an earlier `update`: one state per scene, or one for all.
          views: images and flags.
          chunk: views per chunk, which bounds memory without changing the result. None = all.
          start: first state of the stream, for models whose update refers to it. None = `state`.

        Returns:
          The new state, and the prediction at the size of the images.
        """
        ...

    def read(
        self, params: Params, state: State, query: Any, *, chunk: int | None = None
    ) -> Prediction:
        """Predict unseen views from the state, which does not change.

        Args:
          params, state, chunk: as for `update`.
          query: rays in the model's own format.
        """
        ...


class PhasedModel(Protocol):
    """A model whose `update` over all views has three phases.

    `encode` and `decode` process one chunk of views, so the device never holds the images and
    predictions of all views; `mix` processes the tokens of all views.
    """

    def sharded(self, axis: str) -> PhasedModel:
        """The model inside `jax.shard_map` over a mesh axis that splits the views."""
        ...

    def encode(
        self, params: Params, images: Float[Array, "b c h w 3"], first: Bool[Array, "b c"]
    ) -> Array:
        """Tokens of a chunk of views; `first` is True for the first view of a scene."""
        ...

    def mix(
        self, params: Params, state: State, tokens: Array, valid: Bool[Array, "b v"], size: Size
    ) -> tuple[State, Any, tuple[Array, Array], Array]:
        """Update the state with the tokens of all views.

        Args:
          params, state: as for `Model.update`.
          tokens: tokens from `encode`, with a leading axis of chunks.
          valid: False for padded views.
          size: (height, width) of the images.

        Returns:
          The new state; features for `decode`, with a leading axis of chunks; the cameras, w2c
          [b, v, 4, 4] and intrinsics [b, v, 3, 3] in fp32; an array that can reuse the memory of
          `tokens`.
        """
        ...

    def decode(
        self, params: Params, features: Any, size: Size, chunk: int | None = None
    ) -> tuple[Array, Array, Array]:
        """Depth, confidence and local points of some chunks of views."""
        ...


def in_stored_formats(params: _T, model: Model) -> _T:
    """Parameters, or their shapes, in the number formats of the model's inference."""

    def convert(path: Any, leaf: Any) -> Any:
        dtype = model.stored_format("/".join(key.key for key in path))
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, dtype)
        return leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(convert, params)
