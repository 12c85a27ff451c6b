"""Weights of models: checkpoint folders, PyTorch files, and the conversion between them.

`load` returns a model with its parameters, `save` writes a checkpoint folder, and `convert_command`
converts files. `from_torch` and `to_torch` convert between state dicts of the reference and
parameter trees, by rule tables (`zipmap_jax.convert.rules`). The names below are imported on first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zipmap_jax.lazy import lazy_names

if TYPE_CHECKING:
    from zipmap_jax.convert.checkpoint import make_card, read, save
    from zipmap_jax.convert.command import convert_command
    from zipmap_jax.convert.hub import CheckpointSource, LoadedModel, find, load
    from zipmap_jax.convert.identify import from_torch, to_torch
    from zipmap_jax.convert.perceptual import convert_perceptual, read_perceptual
    from zipmap_jax.convert.registry import ModelKind, kind_of, register
    from zipmap_jax.convert.safetensors_file import read_safetensors, write_safetensors
    from zipmap_jax.convert.torch_file import read_torch
    from zipmap_jax.convert.torch_state import read_state
    from zipmap_jax.convert.torch_writer import write_torch
    from zipmap_jax.convert.vggt import VggtReport, from_vggt

__all__ = [
    "CheckpointSource",
    "LoadedModel",
    "ModelKind",
    "VggtReport",
    "convert_command",
    "convert_perceptual",
    "find",
    "from_torch",
    "from_vggt",
    "kind_of",
    "load",
    "make_card",
    "read",
    "read_perceptual",
    "read_safetensors",
    "read_state",
    "read_torch",
    "register",
    "save",
    "to_torch",
    "write_safetensors",
    "write_torch",
]

__getattr__, __dir__ = lazy_names(__name__, __file__)
