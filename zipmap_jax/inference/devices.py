"""Sharding of the views of a scene over several devices.

Every layer all-reduces the gradients of its fast weights, which are sums over tokens, and the
camera tokens are gathered. Results equal a single device's up to rounding.
`docs/memory-and-speed.md` lists the traffic.
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
"""Name of the mesh axis of the views; see `PhasedModel.sharded`."""


def check_devices(devices: int, model: Model) -> None:
    """Checks the number of devices against this process and the model.

    Raises:
      UserError: the process has fewer devices, or the model cannot use several.
    """
    available = jax.local_devices()
    if not 1 <= devices <= len(available):
        trial = (
            ", or set XLA_FLAGS=--xla_force_host_platform_device_count=8 to try several on a CPU"
            if available[0].platform == "cpu"
            else ""
        )
        count, platform = len(available), available[0].platform
        choice = "1" if count == 1 else f"1 to {count}"
        raise UserError(
            f"devices cannot be {devices}, as this machine has {count} {platform} "
            f"device{'s' * (count > 1)}: choose {choice}{trial}"
        )
    if devices > 1 and not model.shares_views:
        raise UserError(
            f"the model {model.name} cannot distribute the views of a scene over {devices} "
            "devices: set devices to 1"
        )


def sharded_jit(
    function: Callable[..., Any],
    devices: int,
    in_specs: tuple[PartitionSpec, ...],
    out_specs: Any,
    donated: tuple[int, ...] = (),
) -> Any:
    """Returns a jitted function of all views, from a function of one device's share.

    Args:
      function: function of a model sharded over the axis `VIEWS`.
      devices: number of devices, the first of this process.
      in_specs: partition of each argument.
      out_specs: partition of the results.
      donated: indices of the donated arguments.
    """
    on_devices = jax.shard_map(
        function, mesh=_mesh(devices), in_specs=in_specs, out_specs=out_specs, check_vma=False
    )
    shardings = tuple(sharding_of(devices, spec) for spec in in_specs)
    return jax.jit(on_devices, in_shardings=shardings, donate_argnums=donated)


def sharding_of(devices: int, spec: PartitionSpec) -> NamedSharding:
    """Returns the sharding of an array over the first devices of this process."""
    return NamedSharding(_mesh(devices), spec)


@functools.cache
def _mesh(devices: int) -> Mesh:
    return jax.make_mesh(
        (devices,), (VIEWS,), (AxisType.Auto,), devices=jax.local_devices()[:devices]
    )
