"""Outputs of the PyTorch reference for inputs defined by a formula (CPU, fp32)."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import newton_schulz
from zipmap_jax.convert.rules import from_state
from zipmap_jax.nn.dpt import add_position
from zipmap_jax.nn.fast_weights import FastWeightLayer, FastWeights
from zipmap_jax.nn.layers import apply
from zipmap_jax.nn.rope import apply_rope, rope_tables
from zipmap_jax.parity.fast_weights import run, table

TOLERANCE = 2e-6


def fill(c: float, shape: tuple[int, ...], scale: float) -> np.ndarray:
    n = np.arange(math.prod(shape), dtype=np.float64)
    return (scale * np.sin(0.37 * n**2 + c)).astype(np.float32).reshape(shape)


def close(actual: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=tolerance)


def test_newton_schulz() -> None:
    g = jnp.asarray(fill(0.5, (1, 4, 6), 1))
    y = newton_schulz(g)[0]
    close(y[0], [0.2037233, 0.5750657, 0.4770296, -0.1884468, 0.313628, -0.1023314])
    close(y[3], [0.4061217, 0.6095157, -0.3030786, 0.3137082, -0.3527024, 0.4460068])
    # All in bf16, two orders of rounding differ by a few of its 2**-8 steps.
    bf16 = newton_schulz(g, precision="bf16")[0, 0]
    close(bf16, [0.1953125, 0.5625, 0.46875, -0.1875, 0.3125, -0.0991211], 0.02)


@pytest.fixture(scope="module")
def layer() -> tuple[FastWeightLayer, Any, jax.Array]:
    module = FastWeightLayer(8)
    values = {
        "w0": fill(1, (1, 8, 16), 0.5),
        "w1": fill(2, (1, 16, 8), 0.5),
        "w2": fill(3, (1, 8, 16), 0.5),
        "to_qkv.weight": fill(4, (24, 8), 0.3),
        "to_qkv.bias": fill(5, (24,), 0.1),
        "c_proj.weight": fill(6, (8, 8), 0.3),
        "c_proj.bias": fill(7, (8,), 0.1),
        "lr_fc.weight": fill(8, (3, 8), 0.3),
        "lr_fc.bias": fill(9, (3,), 0.1),
        "gate_fn.0.weight": fill(10, (8, 8), 0.3),
        "gate_fn.0.bias": fill(11, (8,), 0.1),
        "o_norm.weight": 1 + fill(12, (8,), 0.1),
    }
    params = jax.tree.map(jnp.asarray, from_state(values, table(module)))
    return module, params, jnp.asarray(fill(0, (1, 12, 8), 1))


def go(layer: Any, weights: FastWeights | None = None, **schedule: Any) -> tuple[Any, FastWeights]:
    module, params, x = layer
    if weights is None:
        weights = apply(module, params, 1, method="initial")
    return run(module, params, x, weights, **schedule)


def test_fast_weights_offline(layer: Any) -> None:
    y, state = go(layer, window=None)
    first = [0.1185817, 0.1882625, -0.0036619, 0.0903405]
    close(y[0, 0], [*first, -0.1530218, -0.0538475, 0.1528173, 0.0344927])
    last = [0.0143425, 0.0661134, 0.0934201, -0.101466]
    close(y[0, 11], [*last, 0.1353424, -0.0617939, 0.0918298, -0.0014422])
    close(y.sum(), 3.6157038, 2e-5)  # a sum of 96 terms
    close(state.w0[0, 0, 0, :4], [0.185226, 0.3737671, 0.3884552, -0.7540945])
    close(state.w1[0, 0, 0, :4], [0.5806302, 0.2798209, -0.1524285, -0.4617876])
    close(state.w2[0, 0, 7, -2:], [0.4380868, 0.2616107])


def test_fast_weights_windowed_then_read(layer: Any) -> None:
    # Five tokens give gradients of rank five: 1e-5 instead of 2e-6.
    y, state = go(layer, window=5)
    first = [0.2037033, -0.0738695, -0.0431091, -0.0574216]
    close(y[0, 0], [*first, -0.0633857, 0.0241156, 0.0941053, 0.1195062], 1e-5)
    close(y.sum(), 3.1311063, 1e-4)
    close(state.w0[0, 0, 0, :4], [0.2130595, 0.1407212, 0.1251793, -0.9237717], 1e-5)
    y, after = go(layer, state, window=0)
    first = [0.0895816, 0.1667589, 0.025157, 0.0581894]
    close(y[0, 0], [*first, -0.0983209, -0.0489994, 0.0345854, -0.0394109], 1e-5)
    assert after is state


def test_learning_rate_at_rest_is_base_lr() -> None:
    module = FastWeightLayer(8, base_lr=0.01)
    x = jnp.zeros((1, 1, 8))
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    _, _, eta = apply(module, zeros, x, method="keys")
    close(eta, np.full((3, 1, 1, 1), 0.01), 1e-8)
    assert 0.01 + math.log(-math.expm1(-0.01)) == pytest.approx(-4.600166019324897, rel=1e-14)


def test_rope() -> None:
    x = jnp.arange(64, dtype=jnp.float32)[None] / 64
    y = apply_rope(x, *(jnp.asarray(t) for t in rope_tables(np.array([[2, 5]]), 64, 100.0)))[0]
    index = np.array([0, 1, 15, 16, 31, 32, 33, 47, 48, 63])
    expected = [-0.2273244, -0.2638471, 0.2213747, -0.1040367, 0.4904529]
    expected += [0.8610243, 0.0140124, 0.6671575, -0.2667155, 1.0311166]
    close(y[index], expected)


def test_dense_position_embedding() -> None:
    e = add_position(jnp.zeros((1, 28, 37, 256)), 518 / 392)[0, 3, 5]
    index = np.array([0, 1, 63, 64, 127, 128, 129, 192, 255])
    expected = [-0.0531474, -0.0498126, -0.0006021, 0.0847075, 0.0999982]
    expected += [-0.0437289, -0.0408819, 0.0899321, 0.0999988]
    close(e[index], expected, 2e-7)


@pytest.mark.parametrize(
    ("size", "corner", "inner", "end", "total"),
    [
        ((28, 37), 1.0552762, 1.4840003, -0.1798161, 184.32983),
        ((20, 26), 1.1404675, -0.1590211, -0.0314786, 92.785026),
    ],
)
def test_antialiased_bicubic(
    size: tuple[int, int], corner: float, inner: float, end: float, total: float
) -> None:
    y, x = np.mgrid[:37, :37].astype(np.float64)
    grid = jnp.asarray(np.sin(0.3 * y) + np.cos(0.02 * x * y), jnp.float32)
    method = jax.image.ResizeMethod.CUBIC_PYTORCH
    resized = jax.image.resize(grid, size, method=method, antialias=True)
    close(resized[0, 0], corner)
    close(resized[5, 7], inner)
    close(resized[-1, -1], end)
    close(resized.sum(), total, 2e-4)  # a sum of hundreds of terms
