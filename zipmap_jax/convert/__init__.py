"""Weights of models: checkpoint folders, PyTorch files, and the conversion between them.

`load` returns a model with its parameters, `save` writes a checkpoint folder, and `convert_command`
converts files. `from_torch` and `to_torch` convert between state dicts of the reference and
parameter trees, by rule tables (`zipmap_jax.convert.rules`). The names below are imported on first
use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "CheckpointSource": "zipmap_jax.convert.hub",
    "LoadedModel": "zipmap_jax.convert.hub",
    "ModelKind": "zipmap_jax.convert.registry",
    "VggtReport": "zipmap_jax.convert.vggt",
    "convert_command": "zipmap_jax.convert.command",
    "convert_perceptual": "zipmap_jax.convert.perceptual",
    "find": "zipmap_jax.convert.hub",
    "from_torch": "zipmap_jax.convert.identify",
    "from_vggt": "zipmap_jax.convert.vggt",
    "kind_of": "zipmap_jax.convert.registry",
    "load": "zipmap_jax.convert.hub",
    "make_card": "zipmap_jax.convert.checkpoint",
    "read": "zipmap_jax.convert.checkpoint",
    "read_perceptual": "zipmap_jax.convert.perceptual",
    "read_safetensors": "zipmap_jax.convert.safetensors_file",
    "read_state": "zipmap_jax.convert.torch_state",
    "read_torch": "zipmap_jax.convert.torch_file",
    "register": "zipmap_jax.convert.registry",
    "save": "zipmap_jax.convert.checkpoint",
    "to_torch": "zipmap_jax.convert.identify",
    "write_safetensors": "zipmap_jax.convert.safetensors_file",
    "write_torch": "zipmap_jax.convert.torch_writer",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zipmap_jax.convert' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
