"""One scene over several devices: each works on its share of the views.

The gradients of the fast weights are sums over tokens, so they are all-reduced, once a layer, and
camera tokens are gathered; everything else stays where it is. The result is that of one device but
for rounding. `docs/memory-and-speed.md` counts what is sent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from zipmap_jax.models.api import Model

VIEWS = "views"
"""The mesh axis that splits the views; see `PhasedModel.sharded`."""


def check_devices(devices: int, model: Model) -> None:
    """Refuse a number of devices that there are not, or that the model cannot use.

    Raises:
      UserError: with the remedy.
    """
    there = jax.local_devices()
    if not 1 <= devices <= len(there):
        trial = (
            ", or set XLA_FLAGS=--xla_force_host_platform_device_count=8 to try several on a CPU"
            if there[0].platform == "cpu"
            else ""
        )
        count, platform = len(there), there[0].platform
        choice = "1" if count == 1 else f"1 to {count}"
        raise UserError(
            f"devices cannot be {devices}, as this machine has {count} {platform} "
            f"device{'s' * (count > 1)}: choose {choice}{trial}"
        )
    if devices > 1 and not model.shares_views:
        raise UserError(
            f"the model {model.name} cannot share the views of a scene among devices: leave "
            "devices at 1"
        )


def split(
    function: Callable[..., Any],
    devices: int,
    places: tuple[PartitionSpec, ...],
    outputs: Any,
    donated: tuple[int, ...] = (),
) -> Any:
    """A function of whole scenes, made of one that works on a share of the views.

    Args:
      function: of a model sharded over the axis `VIEWS`.
      devices: the first so many of this process.
      places: along which axes they share each argument.
      outputs: the same of what is returned.
      donated: numbers of the arguments that are given away.

    Returns:
      A jitted function to be lowered.
    """
    on_devices = jax.shard_map(
        function, mesh=_mesh(devices), in_specs=places, out_specs=outputs, check_vma=False
    )
    layout = tuple(placed(devices, place) for place in places)
    return jax.jit(on_devices, in_shardings=layout, donate_argnums=donated)


def placed(devices: int, place: PartitionSpec) -> NamedSharding:
    """Where an array is that the first so many devices share."""
    return NamedSharding(_mesh(devices), place)


@functools.cache
def _mesh(devices: int) -> Mesh:
    return jax.make_mesh(
        (devices,), (VIEWS,), (AxisType.Auto,), devices=jax.local_devices()[:devices]
    )
