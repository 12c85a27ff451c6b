"""Measurement of one case: its time and its error."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import newton_schulz, newton_schulz_update
from pallas_kernels.bench import oracle
from pallas_kernels.bench.cases import STEPS, Case
from pallas_kernels.bench.timing import measure
from pallas_kernels.newton_schulz.product import Product
from pallas_kernels.newton_schulz.reference import COEFFICIENTS

A, B, C = COEFFICIENTS
Built = tuple[Callable[..., Any], tuple[Any, ...], Callable[[Any], float]]
"""A function, its arguments, and a function that returns the error of its result."""


def run(case: Case, samples: int) -> dict[str, Any]:
    """Times a case and compares its result with float64.

    Args:
      case: the case.
      samples: timed samples.

    Returns:
      The fields of `CallTiming`, "tflops", and "error", relative in the Frobenius norm.
    """
    build = {
        "newton_schulz": _newton_schulz,
        "newton_schulz_update": _newton_schulz_update,
        "gram": _gram,
        "polynomial": _polynomial,
        "update": _update,
    }[case.op]
    f, args, error = build(case)
    timing, result = measure(f, *args, samples=samples)
    return {
        **dataclasses.asdict(timing),
        "tflops": case.flops / timing.ms / 1e9,
        "error": error(result),
    }


def _random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def _ends(x: Any) -> np.ndarray:
    """First and last matrix of a batch, in float64."""
    return np.asarray(x[np.array([0, -1])]).astype(np.float64)


def _transposed(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def _newton_schulz(case: Case) -> Built:
    g = _random(0, case.batch, case.rows, case.columns)
    f = functools.partial(
        newton_schulz,
        steps=STEPS,
        precision=case.precision,
        implementation=case.implementation,
    )
    expected = functools.cache(lambda: oracle.newton_schulz(_ends(g), STEPS))
    return f, (jnp.asarray(g),), lambda y: oracle.relative_error(_ends(y), expected())


def _newton_schulz_update(case: Case) -> Built:
    n, d, m = case.batch // 3, case.rows, case.columns
    shapes = (n, d, m), (n, m, d), (n, d, m)
    w = [_random(seed, *s) / np.float32(d) ** 0.5 for seed, s in enumerate(shapes)]
    g = [_random(3 + seed, n, d, m) for seed in range(3)]
    norms = [np.linalg.norm(x, axis=-2, keepdims=True) for x in w]
    f = functools.partial(
        newton_schulz_update,
        steps=STEPS,
        precision=case.precision,
        implementation=case.implementation,
    )

    def error(updated: Any) -> float:
        deltas = [oracle.newton_schulz(_ends(x), STEPS) for x in g]
        deltas[1] = _transposed(deltas[1])
        return max(
            oracle.relative_error(_ends(y), oracle.renormalised(_ends(x) + delta, _ends(norm)))
            for y, x, delta, norm in zip(updated, w, deltas, norms, strict=True)
        )

    return f, tuple(jax.tree.map(jnp.asarray, tuple(map(tuple, (w, g, norms))))), error


def _gram(case: Case) -> Built:
    x = jnp.asarray(_random(0, case.batch, case.rows, case.columns), jnp.bfloat16)

    def f(x: jax.Array) -> jax.Array:
        if not case.tiling:
            return _product(x, _transposed(x)).astype(jnp.bfloat16)
        return Product("gram", transpose_right=True, symmetric=True, tiling=case.tiling)(x, x)[0]

    expected = functools.cache(lambda: _ends(x) @ _transposed(_ends(x)))
    return f, (x,), lambda y: oracle.relative_error(_ends(y), expected())


def _polynomial(case: Case) -> Built:
    gram = _random(0, case.batch, case.rows, case.rows)
    a = jnp.asarray((gram + _transposed(gram)) / np.float32(case.rows) ** 0.5, jnp.bfloat16)

    def f(a: jax.Array) -> jax.Array:
        if not case.tiling:
            return (B * a.astype(jnp.float32) + C * _product(a, a)).astype(jnp.bfloat16)
        kernel = Product("polynomial", alpha=C, beta=B, symmetric=True, tiling=case.tiling)
        return kernel(a, a, a)[0]

    expected = functools.cache(lambda: B * _ends(a) + C * _ends(a) @ _ends(a))
    return f, (a,), lambda y: oracle.relative_error(_ends(y), expected())


def _update(case: Case) -> Built:
    b = jnp.asarray(_random(0, case.batch, case.rows, case.rows), jnp.bfloat16)
    x = jnp.asarray(_random(1, case.batch, case.rows, case.columns))
    narrow = x.astype(jnp.bfloat16)

    def f(b: jax.Array, narrow: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
        if case.tiling:
            outputs = (jnp.float32, jnp.bfloat16)
            return Product("update", beta=A, outputs=outputs, tiling=case.tiling)(b, narrow, x)
        y = A * x + _product(b, narrow)
        return y, y.astype(jnp.bfloat16)

    expected = functools.cache(lambda: A * _ends(x) + _ends(b) @ _ends(narrow))
    return f, (b, narrow, x), lambda y: oracle.relative_error(_ends(y[0]), expected())


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right, preferred_element_type=jnp.float32)
