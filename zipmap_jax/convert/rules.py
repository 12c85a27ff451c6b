"""Rule tables, which convert between PyTorch state dicts and parameter trees.

A rule maps one tensor of a state dict, or one per layer with `{i}` in the name, to a path of the
parameter tree and a permutation of its axes. Both directions, the expected shapes and the error
messages follow from the same table, so a round trip is exact.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from flax import traverse_util

from zipmap_jax.errors import UserError

Shape = tuple[int, ...]
Params = dict[str, Any]
Layout = Literal["same", "linear", "conv", "transposed_conv"]

# Axes of the PyTorch tensor in the order of the parameter tree.
_AXES: dict[Layout, tuple[int, ...]] = {
    "linear": (1, 0),  # [out, in] -> [in, out]
    "conv": (2, 3, 1, 0),  # [out, in, h, w] -> [h, w, in, out]
    "transposed_conv": (2, 3, 0, 1),  # [in, out, h, w] -> [h, w, in, out]
}

# Columns that `_copy` transposes at a time.
_STRIP = 64


@dataclasses.dataclass(frozen=True)
class Rule:
    """One entry of a rule table.

    Attributes:
      torch: name in the state dict; `{i}` is the layer index.
      ours: path in the parameter tree, with levels separated by "/".
      shape: shape of the PyTorch tensor of one layer.
      layout: kind of the tensor, which determines the permutation of its axes.
      layers: number of layers stacked along a new first axis; None = not stacked.
    """

    torch: str
    ours: str
    shape: Shape
    layout: Layout = "same"
    layers: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the state dict, one per layer."""
        if self.layers is None:
            return (self.torch,)
        return tuple(self.torch.replace("{i}", str(i)) for i in range(self.layers))

    @property
    def axes(self) -> tuple[int, ...]:
        """Permutation from PyTorch to the parameter tree, for `numpy.transpose`."""
        return _AXES.get(self.layout, tuple(range(len(self.shape))))

    @property
    def our_shape(self) -> Shape:
        """Shape of the leaf of the parameter tree, layer axis included."""
        shape = tuple(self.shape[axis] for axis in self.axes)
        return shape if self.layers is None else (self.layers, *shape)


Table = Sequence[Rule]


def torch_shapes(table: Table) -> dict[str, Shape]:
    """Shapes of all tensors of the state dict.

    Args:
      table: the rules.

    Returns:
      Shapes by name.
    """
    return {name: rule.shape for rule in table for name in rule.names}


def our_shapes(table: Table) -> dict[str, Shape]:
    """Shapes of all leaves of the parameter tree.

    Args:
      table: the rules.

    Returns:
      Shapes by path.
    """
    return {rule.ours: rule.our_shape for rule in table}


def convert_leaves(
    state: Mapping[str, Any], table: Table, dtype: Any = np.float32
) -> Iterator[tuple[str, np.ndarray]]:
    """Converts a state dict leaf by leaf, so that only one leaf needs to be in memory.

    Args:
      state: arrays by name, which match the table.
      table: the rules.
      dtype: number format of the leaves.

    Yields:
      Path and a new C-ordered array, in the order of the table.
    """
    for rule in table:
        leaf = np.empty(rule.our_shape, dtype)
        targets = [leaf] if rule.layers is None else leaf
        for target, name in zip(targets, rule.names, strict=True):
            _copy(target, np.asarray(state[name]).transpose(rule.axes))
        yield rule.ours, leaf


def _copy(target: np.ndarray, source: np.ndarray) -> None:
    if source.ndim != 2:
        target[...] = source
        return
    # Strips fit in the cache, which is four times faster than transposing a large matrix at once.
    for start in range(0, source.shape[1], _STRIP):
        target[:, start : start + _STRIP] = source[:, start : start + _STRIP]


def from_state(
    state: Mapping[str, Any],
    table: Table,
    *,
    subject: str = "the state dict",
    remedy: str = "check that it is the right checkpoint",
    dtype: Any = np.float32,
) -> Params:
    """Converts a state dict to a nested parameter tree.

    Args:
      state: arrays by PyTorch name.
      table: the rules.
      subject: description of the state dict in error messages.
      remedy: advice in error messages.
      dtype: number format of the leaves.

    Returns:
      Nested dictionaries of NumPy arrays that share no memory with `state`.

    Raises:
      UserError: tensors are missing, unexpected or wrongly shaped; the message lists all of them.
    """
    check(shapes_of(state), torch_shapes(table), subject=subject, remedy=remedy)
    return nest(dict(convert_leaves(state, table, dtype)))


def to_state(
    params: Mapping[str, Any], table: Table, *, subject: str = "the parameter tree"
) -> dict[str, np.ndarray]:
    """Converts a nested parameter tree to a state dict, the exact inverse of `from_state`.

    Args:
      params: nested parameter tree.
      table: the rules.
      subject: description of the parameter tree in error messages.

    Returns:
      Arrays by PyTorch name; views, not C-ordered, of leaves that are NumPy arrays.

    Raises:
      UserError: leaves are missing, unexpected or wrongly shaped; the message lists all of them.
    """
    flat = flatten(params)
    check(
        shapes_of(flat),
        our_shapes(table),
        subject=subject,
        remedy="pass the configuration of the parameters",
    )
    state: dict[str, np.ndarray] = {}
    for rule in table:
        leaf = np.asarray(flat[rule.ours])
        inverse = np.argsort(rule.axes)
        layers = [leaf] if rule.layers is None else leaf
        for name, layer in zip(rule.names, layers, strict=True):
            state[name] = np.asarray(layer).transpose(inverse)
    return state


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Converts nested dictionaries to one dictionary with paths as keys.

    Args:
      params: nested dictionaries.

    Returns:
      Leaves by path, such as "a/b/c".
    """
    return traverse_util.flatten_dict(dict(params), sep="/")


def nest(flat: Mapping[str, Any]) -> Params:
    """Converts a dictionary with paths to nested dictionaries, the inverse of `flatten`.

    Args:
      flat: leaves by path.

    Returns:
      Nested dictionaries.
    """
    return traverse_util.unflatten_dict(dict(flat), sep="/")


def shapes_of(arrays: Mapping[str, Any]) -> dict[str, Shape]:
    """Shapes of arrays by name.

    Args:
      arrays: arrays by name; the attribute `shapes` of a lazy mapping avoids reading them.

    Returns:
      Shapes by name.
    """
    known = getattr(arrays, "shapes", None)
    if known is not None:
        return dict(known)
    return {name: tuple(np.shape(value)) for name, value in arrays.items()}


def check(
    got: Mapping[str, Shape], expected: Mapping[str, Shape], *, subject: str, remedy: str
) -> None:
    """Compares names and shapes and reports all differences in one error.

    Args:
      got: shapes by name.
      expected: expected shapes by name.
      subject: description of the arrays in the error message.
      remedy: advice in the error message.

    Raises:
      UserError: entries are missing, unexpected or wrongly shaped; runs of layers are listed as one
        entry, such as `blocks.{0-23}.norm1.bias`.
    """
    wrong = {
        name: f" is {_show(got[name])} instead of {_show(shape)}"
        for name, shape in expected.items()
        if name in got and got[name] != shape
    }
    parts = [
        _list("missing", dict.fromkeys((n for n in expected if n not in got), "")),
        _list("unexpected", dict.fromkeys((n for n in got if n not in expected), "")),
        _list("wrongly shaped", wrong),
    ]
    if any(parts):
        raise UserError(f"{subject} does not fit: {'; '.join(p for p in parts if p)}; {remedy}")


def _show(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _list(kind: str, entries: Mapping[str, str]) -> str:
    return f"{len(entries)} {kind} ({', '.join(collapse(entries))})" if entries else ""


def collapse(entries: Mapping[str, str]) -> list[str]:
    """Merges names that differ only in their first layer index and have the same remark.

    Args:
      entries: remarks by name.

    Returns:
      Merged names followed by their remarks.

    Example:
      >>> collapse({"a.0.w": "", "a.1.w": "", "b": " is odd"})
      ['a.{0-1}.w', 'b is odd']
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, remark in entries.items():
        stem = re.sub(r"(?<=\.)\d+(?=\.)", "{}", name, count=1)
        number = re.search(r"(?<=\.)\d+(?=\.)", name)
        groups.setdefault((stem, remark), []).append(number.group() if number else "")
    return [_insert(stem, numbers) + remark for (stem, remark), numbers in groups.items()]


def _insert(stem: str, numbers: list[str]) -> str:
    if len(numbers) == 1:
        return stem.replace("{}", numbers[0], 1)
    runs: list[list[int]] = []
    for number in sorted(map(int, numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    text = ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
    return stem.replace("{}", f"{{{text}}}", 1)
