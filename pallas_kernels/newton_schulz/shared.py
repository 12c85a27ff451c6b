"""Newton-Schulz of a batch of matrices, shared by devices that all hold the whole batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from pallas_kernels.newton_schulz.cost import flops

COMPUTE = 400e12
"""FLOP/s a device is taken to reach: half of a large bf16 product on an H200."""
LINK, LATENCY = 450e9, 20e-6
"""Bytes/s and seconds of a collective: NVLink inside a node."""


def sharing_pays(shape: tuple[int, ...], devices: int, steps: int = 5) -> bool:
    """Whether sharing saves more time than its all-gather takes, by arithmetic, not measurement.

    Args:
      shape: of the matrices, [..., rows, columns].
      devices: that could share them.
      steps: Newton-Schulz iterations.
    """
    *batch, rows, columns = shape
    number = math.prod(batch)
    share = -(-number // devices)
    saved = flops(number - share, rows, columns, steps) / COMPUTE
    received = 4 * rows * columns * share * (devices - 1)
    return saved > received / LINK + LATENCY


def on_shares(
    orthogonalise: Callable[[jax.Array], jax.Array], matrices: jax.Array, axis: str
) -> jax.Array:
    """`orthogonalise(matrices)`, each device working on its share and receiving the others'.

    Args:
      orthogonalise: maps [n, rows, columns] to the same shape, one matrix after the other.
      matrices: [..., rows, columns], the same on every device.
      axis: mesh axis of the devices; to be called inside `shard_map` over it.
    """
    flat = matrices.reshape(-1, *matrices.shape[-2:])
    number, devices = len(flat), lax.axis_size(axis)
    share = -(-number // devices)
    flat = jnp.pad(flat, ((0, share * devices - number), (0, 0), (0, 0)))
    mine = lax.dynamic_slice_in_dim(flat, lax.axis_index(axis) * share, share)
    whole = lax.all_gather(orthogonalise(mine), axis, tiled=True)
    return whole[:number].reshape(matrices.shape)
