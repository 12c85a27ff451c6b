"""Distribution of a replicated batch of matrices over the devices of a mesh axis."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from pallas_kernels.newton_schulz.cost import flops

COMPUTE = 400e12
"""Assumed FLOP/s of a device: half the rate of a large bf16 product on an H200."""
LINK, LATENCY = 450e9, 20e-6
"""Assumed bytes/s and seconds of latency of a collective: NVLink inside a node."""


def sharing_pays(shape: tuple[int, ...], devices: int, steps: int = 5) -> bool:
    """Whether the distribution saves more time than its all-gather takes, by estimate.

    Args:
      shape: shape of the matrices, [..., rows, columns].
      devices: number of devices.
      steps: Newton-Schulz iterations.

    Returns:
      True if the estimated time decreases.
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
    """Computes `orthogonalise(matrices)` on shares, followed by an all-gather.

    Must be called inside `shard_map` over `axis`.

    Args:
      orthogonalise: map of [n, rows, columns] to the same shape, matrix by matrix.
      matrices: [..., rows, columns], equal on all devices.
      axis: mesh axis of the devices.

    Returns:
      The whole result on every device.
    """
    flat = matrices.reshape(-1, *matrices.shape[-2:])
    number, devices = len(flat), lax.axis_size(axis)
    share = -(-number // devices)
    flat = jnp.pad(flat, ((0, share * devices - number), (0, 0), (0, 0)))
    own = lax.dynamic_slice_in_dim(flat, lax.axis_index(axis) * share, share)
    whole = lax.all_gather(orthogonalise(own), axis, tiled=True)
    return whole[:number].reshape(matrices.shape)
