"""The conversion engine: a table of rules carries tensors between two naming schemes.

A rule names one tensor of a PyTorch state dict, or one per layer with `{i}` in the name, and says
where it lives in our parameter tree and how its axes are ordered there. Both directions, the
expected shapes and the error messages follow from the same table, so a round trip is exact.
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

# Axes of the PyTorch tensor, in our order.
_AXES: dict[Layout, tuple[int, ...]] = {
    "linear": (1, 0),  # [out, in] -> [in, out]
    "conv": (2, 3, 1, 0),  # [out, in, h, w] -> [h, w, in, out]
    "transposed_conv": (2, 3, 0, 1),  # [in, out, h, w] -> [h, w, in, out]
}

_STRIP = 64


@dataclasses.dataclass(frozen=True)
class Rule:
    """One line of a table.

    Attributes:
      torch: name in the state dict; `{i}` stands for the layer index.
      ours: path in the parameter tree, levels separated by "/".
      shape: shape of the PyTorch tensor (of one layer).
      layout: how the axes are permuted.
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
        """Permutation from PyTorch to us, for `numpy.transpose`."""
        return _AXES.get(self.layout, tuple(range(len(self.shape))))

    @property
    def our_shape(self) -> Shape:
        """Shape of the leaf in our tree, layer axis included."""
        shape = tuple(self.shape[axis] for axis in self.axes)
        return shape if self.layers is None else (self.layers, *shape)


Table = Sequence[Rule]


def torch_shapes(table: Table) -> dict[str, Shape]:
    """Every name of the state dict with its shape."""
    return {name: rule.shape for rule in table for name in rule.names}


def our_shapes(table: Table) -> dict[str, Shape]:
    """Every path of the parameter tree with its shape."""
    return {rule.ours: rule.our_shape for rule in table}


def convert_leaves(
    state: Mapping[str, Any], table: Table, dtype: Any = np.float32
) -> Iterator[tuple[str, np.ndarray]]:
    """Convert one leaf after the other, so that only one needs to be in memory.

    Args:
      state: name -> array, already checked against the table.
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
    # Strips stay in the cache: four times faster than transposing a large matrix in one go.
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
    """State dict -> nested parameter tree.

    Args:
      state: PyTorch name -> array.
      table: the rules.
      subject, remedy: what to call the state dict, and what to advise, in an error.
      dtype: number format of the leaves.

    Returns:
      Nested dictionaries of NumPy arrays that share no memory with `state`.

    Raises:
      UserError: listing every missing, unexpected and wrongly shaped tensor.
    """
    check(shapes_of(state), torch_shapes(table), subject=subject, remedy=remedy)
    return nest(dict(convert_leaves(state, table, dtype)))


def to_state(
    params: Mapping[str, Any], table: Table, *, subject: str = "the parameter tree"
) -> dict[str, np.ndarray]:
    """Nested parameter tree -> state dict; the exact inverse of `from_state`.

    Returns:
      PyTorch name -> array; a view (not C-ordered) wherever the leaf is a NumPy array.

    Raises:
      UserError: listing every missing, unexpected and wrongly shaped leaf.
    """
    flat = flatten(params)
    check(
        shapes_of(flat),
        our_shapes(table),
        subject=subject,
        remedy="pass the configuration the parameters were made for",
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
    """Nested dictionaries -> "a/b/c" -> leaf."""
    return traverse_util.flatten_dict(dict(params), sep="/")


def nest(flat: Mapping[str, Any]) -> Params:
    """The inverse of `flatten`."""
    return traverse_util.unflatten_dict(dict(flat), sep="/")


def shapes_of(arrays: Mapping[str, Any]) -> dict[str, Shape]:
    """Name -> shape of anything that has one; lazy mappings may know them as `shapes`."""
    known = getattr(arrays, "shapes", None)
    if known is not None:
        return dict(known)
    return {name: tuple(np.shape(value)) for name, value in arrays.items()}


def check(
    got: Mapping[str, Shape], expected: Mapping[str, Shape], *, subject: str, remedy: str
) -> None:
    """Compare names and shapes, and report every difference in one error.

    Raises:
      UserError: naming all missing, unexpected and wrongly shaped entries; runs of layers are
        written as one entry, such as `blocks.{0-23}.norm1.bias`.
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
    """Merge names that differ only in their first layer index and share the same remark.

    Args:
      entries: name -> remark to append.

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
