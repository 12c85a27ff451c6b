"""Conversion of ZipMap's configuration to JSON values, and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from zipmap_jax.config_io import mistyped
from zipmap_jax.errors import UserError
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.nn.config import CameraHeadConfig, DenseHeadConfig, EmbedderConfig, FastWeightConfig

_PARTS = {
    "embedder": EmbedderConfig,
    "fast": FastWeightConfig,
    "camera": CameraHeadConfig,
    "dense": DenseHeadConfig,
}


def config_to_dict(config: ZipMapConfig) -> dict[str, Any]:
    """Converts a configuration to a nested dictionary.

    Args:
      config: the configuration.

    Returns:
      JSON values by field.
    """
    return json.loads(json.dumps(dataclasses.asdict(config)))


def config_from_dict(data: Mapping[str, Any]) -> ZipMapConfig:
    """Converts the dictionary of `config_to_dict` to a configuration.

    Args:
      data: nested dictionary; absent entries have their default values.

    Returns:
      The configuration.

    Raises:
      UserError: an entry is unknown, or a value is invalid.
    """
    values = dict(data)
    for name, part in _PARTS.items():
        if name in values:
            values[name] = _build(part, values[name], f"{name}.")
    return _build(ZipMapConfig, values, "")


def _build(cls: type, data: Any, prefix: str) -> Any:
    if not isinstance(data, Mapping):
        raise UserError(f"{prefix or 'config'} must be a table of values, got {data!r}: correct it")
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = [prefix + name for name in data if name not in known]
    if unknown:
        raise UserError(
            f"the configuration has unknown entries {', '.join(unknown)}: it may come from a "
            "newer version of zipmap-jax, so update"
        )
    if wrong := mistyped(cls, data):
        raise UserError(f"the configuration cannot be used ({prefix}{wrong}): fix its values")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
    except (TypeError, ZeroDivisionError) as error:
        raise UserError(f"the configuration cannot be used ({error}): fix its values") from error
