"""Change any leaf of a configuration by its dotted name and a text: `optim.lr` = "3e-4".

Names follow the dataclasses. An element of a tuple is named by its index, or by its `name` where
all have one (`data.mixture.scannet.root`). What stands above the leaves can be set as well:
`data.jitter none`, `data.buckets '[{"views": 2, ...}]'`.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from zipmap_jax.errors import UserError, nearest
from zipmap_jax.train.config.texts import parse_text, type_name, without_none

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One value of a configuration.

    Attributes:
      path: dotted name.
      hint: its type.
      value: as it stands.
      owner: the dataclass it is a field of.
      doc: what the dataclass says about it.
    """

    path: str
    hint: Any
    value: Any
    owner: type
    doc: str

    @property
    def type_name(self) -> str:
        return type_name(self.hint)


def leaves(config: Any) -> list[Leaf]:
    """Every value of a configuration, in the order of its fields.

    A dataclass that is None counts as one leaf; elements of tuples of dataclasses come one by one.
    """
    return list(_leaves(config, ""))


def apply(config: _T, changes: Mapping[str, str], flags: Iterable[str] = ()) -> _T:
    """The configuration with some values read from texts.

    All changes of one dataclass are made at once, so that values which only fit together can be
    changed together.

    Args:
      config: a dataclass.
      changes: dotted name -> text.
      flags: names of other options, which a typo may have meant.

    Raises:
      UserError: for an unknown name (the nearest one is named) or a text that is not of the type.
    """
    tree = {tuple(path.split(".")): (path, text) for path, text in changes.items()}

    def unknown(path: str) -> ValueError:
        near = nearest(path, (*names(config), *flags))
        return UserError(f"there is no flag --{path}: did you mean --{near}?")

    return _apply(type(config), config, tree, unknown)


def names(config: Any) -> list[str]:
    """Everything that `apply` can set: leaves, and the nodes above them."""
    paths = [leaf.path.split(".") for leaf in leaves(config)]
    return sorted({".".join(path[:depth]) for path in paths for depth in range(1, len(path) + 1)})


def field_docs(cls: type) -> dict[str, str]:
    """What the `Attributes:` of a class's docstring say about each field."""
    _, _, block = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    docs: dict[str, str] = {}
    fields: list[str] = []
    for line in block.split("\n\n")[0].splitlines():
        head, colon, rest = line.strip().partition(": ")
        if colon and not line.startswith(" " * 4):
            fields = head.split(", ")
            docs |= dict.fromkeys(fields, rest)
        else:
            docs |= {name: f"{docs[name]} {line.strip()}" for name in fields}
    return docs


def _leaves(node: Any, prefix: str) -> Iterable[Leaf]:
    hints, docs = typing.get_type_hints(type(node)), field_docs(type(node))
    for field in dataclasses.fields(node):
        value, path = getattr(node, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, path + ".")
        elif _has_elements(value):
            for name, item in zip(_element_names(value), value, strict=True):
                yield from _leaves(item, f"{path}.{name}.")
        else:
            yield Leaf(path, hints[field.name], value, type(node), docs.get(field.name, ""))


def _has_elements(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and dataclasses.is_dataclass(value[0])


def _element_names(items: tuple[Any, ...]) -> list[str]:
    """The elements' own names where all have one and no two the same, else their numbers."""
    own = [getattr(item, "name", "") for item in items]
    return own if all(own) and len(set(own)) == len(own) else [str(i) for i in range(len(items))]


_Changes = dict[tuple[str, ...], tuple[str, str]]
"""Path below a node -> (the whole path, the text)."""
_Unknown = Callable[[str], ValueError]


def _apply(hint: Any, value: Any, changes: _Changes, unknown: _Unknown) -> Any:
    if () in changes:
        path, text = changes[()]
        value = parse_text(hint, text, path)
        changes = {key: change for key, change in changes.items() if key}
    if not changes:
        return value
    inner, _ = without_none(hint)
    if dataclasses.is_dataclass(inner):
        return _apply_fields(inner() if value is None else value, changes, unknown)  # type: ignore[operator]
    if _has_elements(value):
        return _apply_elements(value, changes, unknown)
    raise unknown(_whole_path(changes))


def _apply_fields(node: Any, changes: _Changes, unknown: _Unknown) -> Any:
    hints = typing.get_type_hints(type(node))
    new = {}
    for head, below in _by_head(changes).items():
        if head not in hints:
            raise unknown(_whole_path(below))
        new[head] = _apply(hints[head], getattr(node, head), below, unknown)
    return dataclasses.replace(node, **new)


def _apply_elements(
    items: tuple[Any, ...], changes: _Changes, unknown: _Unknown
) -> tuple[Any, ...]:
    out, called = list(items), _element_names(items)
    for head, below in _by_head(changes).items():
        index = called.index(head) if head in called else int(head) if head.isdecimal() else -1
        if not 0 <= index < len(items):
            raise unknown(_whole_path(below))
        out[index] = _apply(type(items[index]), out[index], below, unknown)
    return tuple(out)


def _by_head(changes: _Changes) -> dict[str, _Changes]:
    out: dict[str, _Changes] = {}
    for (head, *rest), change in changes.items():
        out.setdefault(head, {})[tuple(rest)] = change
    return out


def _whole_path(changes: _Changes) -> str:
    return next(iter(changes.values()))[0]
