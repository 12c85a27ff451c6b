"""Validation of model inputs, and their layout in windows of chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from zipmap_jax.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Array

    from zipmap_jax.models.state import SceneState
    from zipmap_jax.structs import Views


def check_flags(views: Views) -> None:
    """Raise UserError for flags of `Views` that ZipMap does not support."""
    flags = {"update": views.update, "reset": views.reset, "masked": views.masked}
    if unsupported := [name for name, flag in flags.items() if flag is not None]:
        raise UserError(
            f"ZipMap does not support Views with {' or '.join(unsupported)}: leave the flags out, "
            "or mark padded views with valid"
        )


def check_inputs(
    name: str,
    pixels: Array,
    channels: int,
    patch: int,
    layers: tuple[int, ...],
    state: SceneState,
    chunk: int | None,
) -> None:
    """Raise UserError for inputs that do not fit the model.

    Args:
      name: name of the pixels in errors.
      pixels: images or rays.
      channels: required number of channels.
      patch: required divisor of height and width.
      layers: (layers, heads, inputs, units) of the model's fast weights.
      state: one state per scene, or one for all.
      chunk: views per chunk.
    """
    if pixels.ndim != 5 or pixels.shape[-1] != channels or 0 in pixels.shape:
        raise UserError(
            f"{name} must have a shape (scenes, views, height, width, {channels}) without zeros, "
            f"got {pixels.shape}: reorder or add axes"
        )
    if not jnp.issubdtype(pixels.dtype, jnp.floating):
        raise UserError(f"{name} must be floats, got {pixels.dtype}: divide integer images by 255")
    height, width = pixels.shape[2:4]
    if height % patch or width % patch:
        raise UserError(
            f"{name} are {height}x{width}, but both sides must be multiples of {patch}: "
            "resize or crop them first"
        )
    layer, scenes, *head = state.w0.shape
    if (layer, *head) != layers:
        raise UserError(
            f"the state has fast weights of {(layer, *head)} (layers, heads, inputs, units), "
            f"but this model's are {layers}: use the model that made it"
        )
    if scenes not in (1, pixels.shape[0]):
        raise UserError(
            f"the state holds {scenes} scenes but {name} have {pixels.shape[0]}: "
            "make it with init_state(params, batch)"
        )
    if chunk is not None and chunk < 1:
        raise UserError(f"chunk must be at least 1 view, got {chunk}: use None for all views")


def to_windows(x: Array, window: int, chunk: int) -> Array:
    """[b, v, ...] to [windows, chunks, b, chunk, ...], each window zero-padded to whole chunks."""
    b, count = x.shape[:2]
    rest = x.shape[2:]
    windows, per_window = -(-count // window), -(-window // chunk)
    zeros = [(0, 0)] * len(rest)
    x = jnp.pad(x, [(0, 0), (0, windows * window - count), *zeros]).reshape(
        b, windows, window, *rest
    )
    x = jnp.pad(x, [(0, 0), (0, 0), (0, per_window * chunk - window), *zeros])
    x = x.reshape(b, windows, per_window, chunk, *rest)
    return jnp.moveaxis(x, 0, 2)


def from_windows(x: Array, *, window: int, count: int) -> Array:
    """Inverse of `to_windows`."""
    windows, per_window, b, chunk, *rest = x.shape
    x = jnp.moveaxis(x, 2, 0).reshape(b, windows, per_window * chunk, *rest)[:, :, :window]
    return x.reshape(b, windows * window, *rest)[:, :count]
