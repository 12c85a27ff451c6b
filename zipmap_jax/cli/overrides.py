"""Flags that change a training configuration, parsed by tyro.

Flags follow the dataclasses: `--optim.lr 3e-4`. Elements of a tuple of records are addressed by
index, or by `name` where all have one (`--data.mixture.scannet.root`). JSON or `none` replaces a
record, an optional record or a tuple of records.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import tyro

from zipmap_jax.config_io import decode, without_none
from zipmap_jax.errors import UserError, nearest

_T = TypeVar("_T")
Values = Mapping[str, Sequence[str]]
"""Texts that follow each flag."""

_NONE = ("none", "null")
_BOOLS = {"true": "True", "yes": "True", "1": "True", "false": "False", "no": "False", "0": "False"}


def flag_values(words: Iterable[str]) -> dict[str, list[str]]:
    """Texts by flag, from `--a.b x y`, `--a.b=x` or `--a.b`; hyphens in names become underscores.

    Raises:
      UserError: a word precedes the first flag.
    """
    values: dict[str, list[str]] = {}
    texts: list[str] | None = None
    for word in words:
        if word.startswith("--"):
            name, equals, text = word[2:].partition("=")
            texts = values[name.replace("-", "_")] = [text] if equals else []
        elif texts is None:
            raise UserError(f"{word!r} belongs to no flag: write --flag value")
        else:
            texts.append(word)
    return values


def apply(config: _T, values: Values, flags: Iterable[str] = ()) -> _T:
    """The configuration with the values of some flags.

    All plain values are set together, so values that depend on each other can change together.

    Args:
      config: a dataclass.
      values: texts by flag.
      flags: other flags to suggest for a typo.

    Raises:
      UserError: a flag does not exist (the error names the nearest), or a text has the wrong type.
    """
    words: list[str] = []
    for name in sorted(values, key=lambda name: name.count(".")):
        try:
            config, path, hint = _resolve(config, name.split("."))
        except LookupError:
            near = nearest(name, (*flag_names(config), *flags))
            raise UserError(f"there is no flag --{name}: did you mean --{near}?") from None
        if _is_record(hint):
            record = decode(hint, _json(name, values[name]), f"--{name}")
            config = _with(config, path, record)
        else:
            words += [f"--{'.'.join(path)}", *_texts(hint, name, values[name])]
    if words:
        config = parse(type(config), config, words)
    for name, value in leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"--{name} must be finite, got {value}: write a number such as 3e-4")
    return config


def parse(cls: type[_T], default: _T, words: Sequence[str]) -> _T:
    """A dataclass from words in tyro's syntax.

    Raises:
      UserError: tyro rejects a word; the message is tyro's.
    """
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            config = tyro.cli(
                cls,
                default=default,
                args=words,
                config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
            )
    except SystemExit as error:
        if not error.code:
            raise
        # The message precedes the first inner line of tyro's box.
        text = re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯]", " ", messages.getvalue())
        parts = re.split("─{5,}", text)
        sentence = " ".join(parts[min(1, len(parts) - 1)].split())
        raise UserError(sentence.removeprefix(f"Error parsing {cls.__name__}: ")) from None
    return config


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flags and values of a configuration, in the order of the fields."""
    for name, value in _children(node).items():
        if _children(value):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def flag_names(config: Any) -> list[str]:
    """Flags that `apply` accepts: leaves and the records that contain them."""
    paths = [name.split(".") for name, _ in leaves(config)]
    return sorted({".".join(path[:depth]) for path in paths for depth in range(1, len(path) + 1)})


def lines(node: Any, prefix: str = "") -> Iterator[str]:
    """Lines `flag = value` of a configuration; an element of a tuple takes one line of JSON."""
    for name, value in _children(node).items():
        if not _children(value) or isinstance(node, tuple):
            yield f"{prefix}{name} = {_shown(value)}"
        else:
            yield from lines(value, f"{prefix}{name}.")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value or '""'
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return "none" if value is None else json.dumps(value)


def _children(node: Any) -> dict[str, Any]:
    """Fields of a record, or elements of a tuple of records by name or index."""
    if dataclasses.is_dataclass(node):
        return {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    if isinstance(node, tuple) and node and dataclasses.is_dataclass(node[0]):
        names = [getattr(item, "name", "") for item in node]
        unique = all(names) and len(set(names)) == len(names)
        return dict(zip(names if unique else map(str, range(len(node))), node, strict=True))
    return {}


def _resolve(config: _T, parts: Sequence[str]) -> tuple[_T, list[str], Any]:
    """The configuration with the optional records of a flag created; the flag's path; its type.

    Raises:
      LookupError: the flag does not exist.
    """
    path: list[str] = []
    node, hint = config, type(config)
    for part in parts:
        if node is None and dataclasses.is_dataclass(missing := without_none(hint)[0]):
            node = typing.cast(type, missing)()
            config = _with(config, path, node)
        children = _children(node)
        if isinstance(node, tuple):
            if part not in children:
                part = list(children)[int(part) if part.isdecimal() else len(children)]
            node, part = children[part], str(list(children).index(part))
            hint = type(node)
        else:
            record, node = type(node), children[part]
            hint = typing.get_type_hints(record)[part]
        path.append(part)
    return config, path, hint


def _with(node: Any, path: Sequence[str], value: Any) -> Any:
    """The configuration with another value at a path."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(node, tuple):
        index = int(head)
        return (*node[:index], _with(node[index], rest, value), *node[index + 1 :])
    return dataclasses.replace(node, **{head: _with(getattr(node, head), rest, value)})


def _is_record(hint: Any) -> bool:
    inner, _ = without_none(hint)
    kinds = typing.get_args(inner) if typing.get_origin(inner) is tuple else (inner,)
    return dataclasses.is_dataclass(kinds[0])


def _json(name: str, texts: Sequence[str]) -> Any:
    text = " ".join(texts)
    if text.lower() in _NONE:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"--{name} takes JSON or none, got {text!r}, which breaks at character {error.pos}: "
            "correct it"
        ) from None


def _texts(hint: Any, name: str, texts: Sequence[str]) -> list[str]:
    """The texts of a flag in tyro's syntax."""
    inner, optional = without_none(hint)
    if optional and len(texts) == 1 and texts[0].lower() in _NONE:
        return ["None"]
    if typing.get_origin(inner) is tuple:
        if len(texts) != 1:
            return list(texts)
        if texts[0].lstrip().startswith("["):
            return _flat(_json(name, texts))
        return [text.strip() for text in texts[0].split(",")] if texts[0] else []
    if inner is bool and not texts:
        return ["True"]
    if len(texts) != 1:
        raise UserError(f"--{name} takes one value, got {' '.join(texts) or 'none'}")
    return [_BOOLS.get(texts[0].lower(), texts[0])] if inner is bool else list(texts)


def _flat(value: Any) -> list[str]:
    return (
        [text for item in value for text in _flat(item)]
        if isinstance(value, list)
        else [str(value)]
    )
