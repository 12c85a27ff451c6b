"""Values of a configuration as texts: reading them by annotated type, and writing them."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import Any, Literal

from zipmap_jax.errors import UserError, likeness

_NONE = ("none", "null")
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_EXAMPLES = {int: "write a whole number such as 8", float: "write a number such as 3e-4"}


def parse_text(hint: Any, text: str, path: str) -> Any:
    """A text as a value of the annotated type.

    Tuples are JSON lists, or texts separated by commas where their elements are plain; dataclasses
    are JSON objects.

    Raises:
      UserError: the text is not of that type.
    """
    inner, nullable = without_none(hint)
    if nullable and text.lower() in _NONE:
        return None
    if not _is_structured(inner):
        return _scalar(hint, text, path)
    if not text.lstrip().startswith(("[", "{")):
        kinds = [kind for kind in typing.get_args(inner) if kind is not Ellipsis]
        if dataclasses.is_dataclass(inner) or any(map(_is_structured, kinds)):
            raise _mismatch(hint, text, path, "write it as JSON")
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
        return _tuple(inner, parts, path, text)
    try:
        plain = json.loads(text)
    except json.JSONDecodeError as error:
        raise _mismatch(hint, text, path, f"the JSON breaks at character {error.pos}") from error
    return _typed(inner, plain, path)


def type_name(hint: Any) -> str:
    """A type as users read it: `int`, `float | none`, `a | b`, `list of str`."""
    inner, nullable = without_none(hint)
    origin, args = typing.get_origin(inner), typing.get_args(inner)
    if origin is Literal:
        name = " | ".join(map(str, args))
    elif origin is tuple and args[-1] is Ellipsis:
        name = f"list of {type_name(args[0])}"
    elif origin is tuple:
        name = f"({', '.join(map(type_name, args))})"
    else:
        name = inner.__name__
    return f"{name} | none" if nullable else name


def show(value: Any) -> str:
    """A value as `parse_text` reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        plain = value and not any(isinstance(item, tuple) for item in value)
        return ",".join(map(show, value)) if plain else json.dumps(value)
    return str(value)


def without_none(hint: Any) -> tuple[Any, bool]:
    """The type without None, and whether None is allowed."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        return kinds[0], len(kinds) < len(typing.get_args(hint))
    return hint, False


def _is_structured(hint: Any) -> bool:
    inner, _ = without_none(hint)
    return typing.get_origin(inner) is tuple or dataclasses.is_dataclass(inner)


def _scalar(hint: Any, text: str, path: str) -> Any:
    kind, _ = without_none(hint)
    if typing.get_origin(kind) is Literal:
        for choice in typing.get_args(kind):
            if str(choice) == text:
                return choice
        raise _mismatch(hint, text, path, "choose one of these")
    if kind is bool:
        if text.lower() not in _BOOLS:
            raise _mismatch(hint, text, path, "write true or false")
        return _BOOLS[text.lower()]
    if kind is str:
        return text
    try:
        value = kind(text)
    except ValueError as error:
        raise _mismatch(hint, text, path, _EXAMPLES[kind]) from error
    if not math.isfinite(value):
        raise _mismatch(hint, text, path, _EXAMPLES[kind])
    return value


def _typed(hint: Any, value: Any, path: str) -> Any:
    """A value read from JSON as the annotated type."""
    inner, nullable = without_none(hint)
    if value is None and nullable:
        return None
    if dataclasses.is_dataclass(inner):
        return _object(typing.cast(type, inner), value, path)
    if typing.get_origin(inner) is tuple:
        if not isinstance(value, list):
            raise _mismatch(hint, json.dumps(value), path, "write a JSON list")
        return _tuple(inner, value, path, json.dumps(value))
    if inner is str and not isinstance(value, str):
        raise _mismatch(hint, json.dumps(value), path, "put it in double quotes")
    return _scalar(hint, value if isinstance(value, str) else json.dumps(value), path)


def _tuple(hint: Any, items: list[Any], path: str, text: str) -> tuple[Any, ...]:
    args = typing.get_args(hint)
    kinds = [args[0]] * len(items) if args[-1] is Ellipsis else list(args)
    if len(kinds) != len(items):
        raise _mismatch(hint, text, path, f"give {len(kinds)} values, not {len(items)}")
    return tuple(_typed(kind, item, path) for kind, item in zip(kinds, items, strict=True))


def _object(cls: type, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise _mismatch(cls, json.dumps(value), path, "write a JSON object")
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    for name in value:
        if name not in hints:
            near = max(hints, key=lambda known: likeness(name, known))
            raise UserError(f"--{path}: {cls.__name__} has no {name!r}: did you mean {near!r}?")
    needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [name for name in needed if name not in value]:
        raise UserError(f"--{path}: every {cls.__name__} needs {', '.join(missing)}: add it")
    return cls(**{name: _typed(hints[name], item, path) for name, item in value.items()})


def _mismatch(hint: Any, text: str, path: str, remedy: str) -> ValueError:
    return UserError(f"--{path} wants {type_name(hint)}, got {text!r}: {remedy}")
