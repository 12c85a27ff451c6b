"""The protocol of every model: all that inference, batches, sessions, evaluation and export use.

A model is hashable and holds no arrays; every method is a pure function of explicit pytrees. The
state of a scene is an opaque pytree: only the model that made it reads it.

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
"""What a model remembers of a batch of scenes: a pytree that only the model reads."""
Size = tuple[int, int]
"""(height, width) in pixels."""


class Preparation(Protocol):
    """How pictures become network images, and where those lie on the originals."""

    @property
    def patch(self) -> int:
        """Network images have sides that are multiples of it."""
        ...

    def resized_shape(self, original: Size, size: int, mode: str) -> Size:
        """Size of a picture after resizing, before cropping or padding.

        Args:
          original: size of the picture.
          size: network image size.
          mode: how the picture is fitted, such as "crop" or "pad".

        Raises:
          UserError: the size or the mode is impossible, or the picture does not suit the network.
        """
        ...

    def network_shape(self, originals: list[Size], size: int, mode: str) -> Size:
        """Size that network images of pictures of these sizes have together."""
        ...

    def fit(
        self, image: UInt8[np.ndarray, "h w 3"], size: int, mode: str
    ) -> tuple[UInt8[np.ndarray, "h2 w2 3"], PixelMap]:
        """One network image, not yet padded to the size of others."""
        ...

    def pad(
        self, image: UInt8[np.ndarray, "h w 3"], pixel_map: PixelMap, shape: Size
    ) -> tuple[UInt8[np.ndarray, "h2 w2 3"], PixelMap]:
        """The network image padded to `shape`."""
        ...

    def normalise(self, images: Shaped[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
        """uint8 network images in the value range of the model; runs on the device."""
        ...


@dataclasses.dataclass(frozen=True)
class Workload:
    """What the memory of a reconstruction depends on.

    Attributes:
      model: the model.
      parameter_bytes: size of its weights on the device.
      original_sizes: (height, width) of every original image.
      network_size: (height, width) at which the network works.
      chunk: views worked on at a time; None = all.
      devices: that share the views.
      in_place: whether the compiler keeps one copy of a token stream while it loops over chunks
        within a loop over layers, as it does for GPUs; on the CPU it keeps two.
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
        """Views of a device."""
        return math.ceil(self.views / self.devices)

    @property
    def plan(self) -> MemoryPlan:
        """Bytes on each device."""
        return self.model.memory(self)

    @property
    def live_chunk(self) -> int:
        """Views that a device works on at a time."""
        return self.plan.live_chunk


class MemoryPlan(Protocol):
    """Bytes on a device during a reconstruction."""

    @property
    def live_chunk(self) -> int:
        """Views worked on at a time."""
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
    """A model of images to cameras and geometry. Implementations are frozen dataclasses."""

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
        """Network image size in pixels when a card names none."""
        ...

    @property
    def preparation(self) -> Preparation:
        """How pictures become network images and back."""
        ...

    @property
    def streams(self) -> bool:
        """Whether views may come in any number of updates, with the result of a single one."""
        ...

    @property
    def phased(self) -> bool:
        """Whether `update` also comes in parts; see `PhasedModel`."""
        ...

    @property
    def shares_views(self) -> bool:
        """Whether devices may share the views of a scene; see `PhasedModel.sharded`."""
        ...

    @property
    def query_channels(self) -> int:
        """Channels of a pixel of the query that `read` takes; 0 = the state cannot be read."""
        ...

    def views_per_call(self, chunk: int) -> int:
        """Views of one call of a model that `streams`: as many as fit into a chunk, or more."""
        ...

    def stored_format(self, name: str) -> Any:
        """Number format in which the parameter `name` ("a/b/c") is kept for inference."""
        ...

    @property
    def kernels(self) -> tuple[int, int, int] | None:
        """Shape [n, rows, columns] of the matrices of a layer's Pallas kernels; None = none."""
        ...

    def portable(self) -> Model:
        """The same model without operations that exist on one platform only."""
        ...

    def memory(self, workload: Workload) -> MemoryPlan:
        """Bytes on each device, by part, before anything is compiled."""
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
        """Take views into the state and predict their cameras and geometry.

        Args:
          params: parameters.
          state: from `init_state` or an earlier `update`; of as many scenes as there are images of,
            or of one, from which all of them start.
          views: images and flags.
          chunk: views worked on at once; bounds memory and does not change the result. None = all.
          start: state that the stream began with, for models whose update refers to it. None =
            `state`.

        Returns:
          The new state, and the prediction at the size of the images.
        """
        ...

    def read(self, params: Params, state: State, query: Any, *, chunk: int | None = None) -> Any:
        """Predict views that were not seen; the state stays as it is.

        Args:
          params: parameters.
          state: of the scenes that are asked about.
          query: rays, in the form that the model takes.
          chunk: as for `update`.

        Returns:
          A `Prediction`.
        """
        ...


class PhasedModel(Protocol):
    """A model whose `update` over all views comes in three parts.

    `encode` and `decode` work on a chunk of views, so images and predictions of all views never lie
    on the device together; `mix` works on the tokens of all views.
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
        """All views together.

        Args:
          params: parameters.
          state: as of `Model.update`.
          tokens: from `encode`, with a leading axis of chunks.
          valid: False for padded views.
          size: of the images.

        Returns:
          The new state; features for `decode`, with a leading axis of chunks; the cameras, w2c
          [b, v, 4, 4] and intrinsics [b, v, 3, 3] in fp32; and an array of the shape of `tokens`
          that may take their memory.
        """
        ...

    def decode(
        self, params: Params, features: Any, size: Size, chunk: int | None = None
    ) -> tuple[Array, Array, Array]:
        """Depth, confidence and local points of some chunks of views."""
        ...


def in_stored_formats(params: _T, model: Model) -> _T:
    """Parameters in the number formats in which the model keeps them for inference.

    Args:
      params: arrays, or their shapes.
      model: whose parameters they are.

    Returns:
      The same tree.
    """

    def convert(path: Any, leaf: Any) -> Any:
        dtype = model.stored_format("/".join(key.key for key in path))
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, dtype)
        return leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(convert, params)
