"""Frozen dataclasses to JSON values and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
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
      UserError: for a key that the configuration does not have, or a value of another type.
    """
    if not isinstance(data, dict):
        raise UserError(f"{cls.__name__} must be a table of values, got {data!r}: correct it")
    hints = typing.get_type_hints(cls)
    fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - fields):
        raise UserError(
            f"{cls.__name__} has no field {', '.join(unknown)}: "
            "the file was written by another version of zipmap-jax, so update"
        )
    if wrong := mistyped(cls, data):
        raise UserError(f"{cls.__name__} has {wrong}: correct it")
    return cls(**{name: _value(hints[name], value) for name, value in data.items()})


def mistyped(cls: type, data: Mapping[str, Any]) -> str:
    """The first entry whose value is not of its field's type, as "name=value"; empty if none."""
    hints = typing.get_type_hints(cls)
    wrong = (name for name, value in data.items() if not _fits(hints[name], value))
    return next((f"{name}={data[name]!r}" for name in wrong), "")


def _fits(hint: Any, value: Any) -> bool:
    """Whether a JSON value may stand for the annotated type; tables are looked into later."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(arg, value) for arg in args)
    if origin is typing.Literal:
        return value in args
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        return len(kinds) == len(value) and all(map(_fits, kinds, value))
    if dataclasses.is_dataclass(hint):
        return isinstance(value, dict | typing.cast(type, hint))
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


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
