"""Shardings of training states and batches over the mesh, and their collectives.

Microbatches are split over the axes `data` and `fsdp`, the views of a scene over `views`.
Parameters, moments and moving average are split over `fsdp` (as in FSDP or ZeRO) and gathered for
the duration of a step.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import lax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from zipmap_jax.data.batch_arrays import view_axis
from zipmap_jax.errors import UserError
from zipmap_jax.tree import path_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zipmap_jax.train.config.schema import MeshConfig

DATA, FSDP, VIEWS = "data", "fsdp", "views"
AXES = (DATA, FSDP, VIEWS)
MICROBATCH_AXES = (DATA, FSDP)
"""Axes over which the microbatches of a batch are split."""

RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    ("*_token", ()),
    ("*_tokens", ()),
    # The trailing axes of fast weights, dense layers and convolutions are [..., input, output].
    ("*/ttt/w?", (FSDP,)),
    ("*kernel", (FSDP,)),
    ("*/pos_embed", (FSDP,)),
    ("*", ()),
)
"""(shell pattern of a path, mesh axes of the array's last dimensions); the first match counts.

A dimension that is not a multiple of the mesh axis is not split.
"""


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Arrange devices as (data, fsdp, views), with the views of a scene on neighbours.

    Args:
      config: sizes of the axes; `data=0` uses all remaining devices.
      devices: None = all devices of all processes.

    Returns:
      The mesh.

    Raises:
      UserError: the product of the sizes is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    inner = config.fsdp * config.views
    data = config.data or len(devices) // max(inner, 1)
    if min(data, inner) < 1 or data * inner != len(devices):
        raise UserError(
            f"a mesh of data={config.data}, fsdp={config.fsdp}, views={config.views} does not fit "
            f"{len(devices)} devices: their product must be {len(devices)} (data=0: the remainder)"
        )
    shape = (data, config.fsdp, config.views)
    automatic = (jax.sharding.AxisType.Auto,) * len(AXES)
    return Mesh(np.asarray(devices).reshape(shape), AXES, axis_types=automatic)


def describe(mesh: Mesh) -> str:
    """Return number, kind and arrangement of the devices as text."""
    kind = mesh.devices.flat[0].device_kind
    axes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items() if size > 1)
    return f"{mesh.size} x {kind}" + (f" ({axes})" if axes else "")


def microbatch_devices(mesh: Mesh) -> int:
    """Return the number of device groups with different microbatches."""
    return mesh.shape[DATA] * mesh.shape[FSDP]


def spec_of(path: tuple[Any, ...], leaf: Any, mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """Return the partition of an array of the training state; moments follow their parameter."""
    name = path_name(path)
    axes = next(axes for pattern, axes in RULES if fnmatch.fnmatchcase(name, pattern))
    if leaf.ndim < 2:
        return PartitionSpec()
    whole = (None,) * (leaf.ndim - len(axes))
    sizes = leaf.shape[leaf.ndim - len(axes) :]
    fitting = (
        axis if axis and size % mesh.shape[axis] == 0 else None
        for axis, size in zip(axes, sizes, strict=True)
    )
    return PartitionSpec(*whole, *fitting)


def specs(tree: Any, mesh: Mesh) -> Any:
    """Return the partition of every leaf."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: spec_of(path, leaf, mesh), tree)


def shardings(tree: Any, mesh: Mesh) -> Any:
    """Return the sharding of every leaf of a training state (arrays or shapes)."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs(tree, mesh))


def batch_spec(name: str) -> PartitionSpec:
    """Return the partition of an array of a batch, whose first axis is that of microbatches."""
    axis = view_axis(name)
    if axis is None:
        return PartitionSpec(MICROBATCH_AXES)
    return PartitionSpec(MICROBATCH_AXES, *[None] * axis, VIEWS)


def batch_specs(batch: Iterable[str]) -> dict[str, PartitionSpec]:
    """Return the partition of every array by name."""
    return {name: batch_spec(name) for name in batch}


def batch_shardings(batch: Iterable[str], mesh: Mesh) -> dict[str, NamedSharding]:
    """Return the sharding of every array of a batch by name."""
    return {name: NamedSharding(mesh, spec) for name, spec in batch_specs(batch).items()}


def laid_out(shapes: Any, layout: Any) -> Any:
    """Add shardings to shapes, for compiling and restoring."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        layout,
    )


def gather(tree: Any, layout: Any) -> Any:
    """Gather whole arrays within `shard_map` from parts split by `layout` (from `specs`)."""

    def whole(part: jax.Array, spec: PartitionSpec) -> jax.Array:
        for axis, name in enumerate(spec):
            if name is not None:
                part = lax.all_gather(part, name, axis=axis, tiled=True)
        return part

    return jax.tree.map(whole, tree, layout)


def mean_and_scatter(tree: Any, layout: Any) -> Any:
    """Average over all devices within `shard_map`; each keeps its part of `layout`."""

    def part(local: jax.Array, spec: PartitionSpec) -> jax.Array:
        if FSDP not in spec:
            return lax.pmean(local, AXES)
        mean = lax.psum_scatter(local, FSDP, scatter_dimension=spec.index(FSDP), tiled=True)
        return lax.pmean(mean / lax.axis_size(FSDP), (DATA, VIEWS))

    return jax.tree.map(part, tree, layout)
