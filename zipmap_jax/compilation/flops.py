"""Floating-point operations of traced programs, and peak rates of devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PEAK_FLOPS: Mapping[str, float] = {
    "H200": 989.4e12,
    "H100 PCIe": 756e12,
    "H100": 989.4e12,
    "A100": 312e12,
}
"""Peak dense bf16 FLOP/s by a part of the device's name; the first matching entry applies.

Source: NVIDIA's data sheets of the H100, whose compute rate the H200 shares, and the A100.
"""


def peak_flops(device_kind: str) -> float | None:
    """Peak dense bf16 rate of a device.

    Args:
      device_kind: name of the device, such as "NVIDIA H200".

    Returns:
      FLOP/s; None if the device is not in `PEAK_FLOPS`.
    """
    return next((peak for name, peak in PEAK_FLOPS.items() if name in device_kind), None)


def flops_of(traced: Any) -> float:
    """Floating-point operations of the matrix products and convolutions of a program.

    The count is that of the traced program on all devices, recomputation included. XLA's
    `compiled.cost_analysis()` counts the body of a loop once, however often it runs, and models of
    scanned blocks consist of loops.

    Args:
      traced: `jax.jit(step).trace(...)`, or another object with a `jaxpr`.

    Returns:
      FLOPs of one call.
    """
    return _count(traced.jaxpr)


def _count(jaxpr: Any) -> float:
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)  # a ClosedJaxpr contains a Jaxpr
    return sum(map(_equation, jaxpr.eqns))


def _equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if counter := _PRIMITIVES.get(name):
        return counter(equation)
    inner = [_count(jaxpr) for value in params.values() for jaxpr in _jaxprs(value)]
    if name == "cond":
        return max(inner)
    times = 1
    if name == "scan":
        times = params["length"]
    elif name == "pallas_call":
        times = math.prod(params["grid_mapping"].grid)
    elif name == "shard_map":
        shape = params["mesh"].shape
        times = math.prod(shape[axis] for axis in params.get("manual_axes", shape))
    return times * sum(inner)


def _product(equation: Any) -> float:
    """FLOPs of a matrix product: two per element of the result and summand."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, result = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return 2.0 * math.prod(result) * math.prod(left[axis] for axis in contracted)


def _convolution(equation: Any) -> float:
    """FLOPs of a convolution: two per element of the result, tap and input channel of its group."""
    kernel, result = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
    layout = equation.params["dimension_numbers"].rhs_spec  # output channels, inputs, then space
    taps = math.prod(kernel[axis] for axis in layout[1:])
    # A transposed convolution multiplies every input once per tap; the inserted zeros are skipped.
    spread = math.prod(equation.params["lhs_dilation"])
    return 2.0 * math.prod(result) * taps / spread


_PRIMITIVES: Mapping[str, Callable[[Any], float]] = {
    "dot_general": _product,
    "conv_general_dilated": _convolution,
}


def _jaxprs(value: Any) -> Iterator[Any]:
    if hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns"):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _jaxprs(item)
