"""Conversion between frozen dataclasses and JSON: training configurations, cards, bench rows."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

from zipmap_jax.errors import UserError, nearest

_T = TypeVar("_T")


def to_json(config: Any) -> dict[str, Any]:
    """Convert a dataclass to a nested dictionary; its tuples become lists in JSON text."""
    return dataclasses.asdict(config)


def from_json(cls: type[_T], data: Any, path: str = "") -> _T:
    """Convert the result of `to_json`, also after a round trip through text, to a dataclass.

    Fields that `data` lacks keep their defaults, so that older files stay readable.

    Args:
      cls: a dataclass.
      data: JSON value.
      path: name of the value in error messages; "" = the name of the class.

    Returns:
      An instance of `cls`.

    Raises:
      UserError: a key is unknown or missing, or a value has the wrong type.
    """
    return decode(cls, data, path or cls.__name__)


def decode(hint: Any, data: Any, path: str) -> Any:
    """Convert a JSON value to an annotated type: a dataclass, tuple, literal, scalar or optional.

    Args:
      hint: resolved annotation.
      data: JSON value.
      path: name of the value in error messages.

    Returns:
      The value of that type.

    Raises:
      UserError: as `from_json`.
    """
    inner, optional = without_none(hint)
    if optional and data is None:
        return None
    if dataclasses.is_dataclass(inner):
        if not isinstance(data, dict):
            raise UserError(f"{path} must be a table of values, got {data!r}: correct the value")
        return _decode_fields(typing.cast(type, inner), data, path)
    args = typing.get_args(inner)
    if typing.get_origin(inner) is tuple:
        if not isinstance(data, list | tuple) or (args[-1] is not ... and len(args) != len(data)):
            raise _mismatch(hint, data, path)
        kinds = args[:1] * len(data) if args[-1] is ... else args
        items = zip(kinds, data, strict=True)
        return tuple(decode(kind, item, f"{path}.{i}") for i, (kind, item) in enumerate(items))
    if typing.get_origin(inner) is Literal:
        fits = data in args
    elif isinstance(data, bool) or inner is not float:
        fits = inner is Any or type(data) is inner
    else:
        fits = isinstance(data, int | float)
    if not fits:
        raise _mismatch(hint, data, path)
    return float(data) if inner is float else data


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return the type without None, and whether None is allowed."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        return kinds[0], len(kinds) < len(typing.get_args(hint))
    return hint, False


def _decode_fields(cls: type, data: dict[str, Any], path: str) -> Any:
    hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
    for name in data.keys() - {field.name for field in fields}:
        raise UserError(
            f"{path} has no field {name}, the nearest one is {nearest(name, hints)}: correct the "
            "name, or update zipmap-jax if a newer version wrote the file"
        )
    required = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [name for name in required if name not in data]:
        raise UserError(f"{path} lacks {', '.join(missing)}: every {cls.__name__} needs it")
    values = {name: decode(hints[name], value, f"{path}.{name}") for name, value in data.items()}
    return cls(**values)


def _mismatch(hint: Any, data: Any, path: str) -> UserError:
    name = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
    return UserError(f"{path} must be {name}, got {data!r}: correct the value")
