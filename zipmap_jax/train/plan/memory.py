"""How much memory a program needs, estimated from its trace: nothing is compiled or allocated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core

from zipmap_jax.train.sharding import AXES, FSDP, spec_of


def peak_bytes(function: Callable[..., Any], *shapes: Any) -> int:
    """An estimate of the memory that `function` needs besides its arguments.

    Every value counts from the operation that makes it to the last that reads it, loops and
    recomputed parts included. XLA fuses operations, which saves memory, and reorders, pads and
    copies, which costs some: compiled for a CPU, `tiny` at 8 views of 112x154 needs 1.1 times the
    estimate, and 2.4 times with `remat`; for an H200, steps of `large` with `remat` need 0.7 to 1
    times it (43.7 GiB for 24 scenes of 2 views of 518x518, 50.2 for 48 views of one, 47.6 for two
    streams of 24). It tells what dominates and compares configurations; measure with
    `compiled.memory_analysis()` before relying on it.

    Args:
      function: a JAX function.
      shapes: its arguments, as arrays or `jax.ShapeDtypeStruct`s.
    """
    return _peak(jax.make_jaxpr(function)(*shapes).jaxpr)


def tree_bytes(tree: Any) -> int:
    """Bytes of all arrays of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def split_bytes(tree: Any, parts: int) -> int:
    """Bytes on one of `parts` devices of the axis `fsdp`, by the rules of `sharding`."""
    mesh = jax.sharding.AbstractMesh((1, parts, 1), AXES)

    def share(path: tuple[Any, ...], leaf: Any) -> int:
        whole = leaf.size * leaf.dtype.itemsize
        return whole // parts if FSDP in spec_of(path, leaf, mesh) else whole

    return sum(jax.tree.leaves(jax.tree_util.tree_map_with_path(share, tree)))


def _peak(jaxpr: core.Jaxpr) -> int:
    last: dict[core.Var, int] = {}
    for index, equation in enumerate(jaxpr.eqns):
        last |= dict.fromkeys(_variables(equation.invars), index)
    outside = {*jaxpr.invars, *jaxpr.constvars, *_variables(jaxpr.outvars)}
    live = peak = 0
    for index, equation in enumerate(jaxpr.eqns):
        made = sum(map(_bytes, equation.outvars))
        inside = max(map(_peak, _bodies(equation)), default=0)
        peak = max(peak, live + made + inside)
        read = {v for v in _variables(equation.invars) if last[v] == index} - outside
        unread = {v for v in equation.outvars if v not in last} - outside
        live += made - sum(map(_bytes, read | unread))
    return peak


def _variables(atoms: Any) -> Iterator[core.Var]:
    return (atom for atom in atoms if not isinstance(atom, core.Literal))


def _bodies(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    """Programs within an operation: of a loop, a branch, a recomputed part."""
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


def _bytes(variable: core.Var) -> int:
    shape, dtype = (getattr(variable.aval, name, None) for name in ("shape", "dtype"))
    return 0 if shape is None or dtype is None else math.prod(shape) * dtype.itemsize
