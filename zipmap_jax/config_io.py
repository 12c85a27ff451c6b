"""Frozen dataclasses to JSON values and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

from zipmap_jax.errors import UserError

_T = TypeVar("_T")


def to_json(config: Any) -> dict[str, Any]:
    """Plain nested dictionary of a configuration."""
    return dataclasses.asdict(config)


def from_json(cls: type[_T], data: dict[str, Any]) -> _T:
    """Configuration back from `to_json` (also after a round trip through JSON text).

    Fields that `data` lacks keep their defaults, so that older checkpoints stay readable.

    Raises:
      UserError: for a key that the configuration does not have.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - fields):
        raise UserError(
            f"{cls.__name__} has no field {', '.join(unknown)}: "
            "the file was written by another version of zipmap-jax"
        )
    return cls(**{name: _value(hints[name], value) for name, value in data.items()})


def _value(hint: Any, value: Any) -> Any:
    """`value` as the annotated type wants it: dataclasses rebuilt, lists made tuples."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _value(next(arg for arg in args if arg is not types.NoneType), value)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_json(typing.cast(type, hint), value)
    if origin is tuple:
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(_value(kind, item) for kind, item in zip(inner, value, strict=True))
    return value
