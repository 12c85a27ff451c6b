"""The tensor-core product on the simulated GPU of Pallas: values and races."""

from __future__ import annotations

import types
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import compat
from pallas_kernels.newton_schulz import product as module
from pallas_kernels.newton_schulz.product import Product
from pallas_kernels.newton_schulz.tiling import Tiling
from tests.pallas_kernels.oracle import NEEDS_CLUSTERS, NEEDS_TRANSPOSED_REFS, bf16, normal

# Sums of the same products in another order, in fp32; terms are of order 1.
FP32 = {"rtol": 1e-5, "atol": 2e-4}
# The same, rounded to bf16: one step apart where a sum lies between two bf16 numbers.
BF16 = {"rtol": 2.0**-7, "atol": 2e-4}
UPDATE = {"alpha": 1.5, "beta": -2.5, "outputs": (jnp.float32, jnp.bfloat16)}


def run(product: Product, *operands: np.ndarray) -> list[np.ndarray]:
    """Interpret a launch; operands are fp32 arrays of bf16 values, an addend in its own format."""
    formats = (jnp.bfloat16, jnp.bfloat16, product.outputs[0])
    arrays = [jnp.asarray(x, f) for x, f in zip(operands, formats, strict=False)]
    outputs = product(*arrays, interpret=compat.interpreter(detect_races=True))
    return [np.asarray(x).astype(np.float32) for x in outputs]


def check_update(tiling: Tiling, rows: int, columns: int, depth: int, batch: int = 1) -> None:
    left, right = bf16(normal(batch, rows, depth)), bf16(normal(batch, depth, columns, seed=1))
    addend = normal(batch, rows, columns, seed=2)
    wide, narrow = run(Product(tiling=tiling, blocks=2, **UPDATE), left, right, addend)
    assert not compat.races_found()
    expected = 1.5 * (left @ right) - 2.5 * addend
    np.testing.assert_allclose(wide, expected, **FP32)
    np.testing.assert_array_equal(narrow, bf16(wide))


def test_update_has_two_outputs() -> None:
    check_update(Tiling(stages=2), 128, 128, 128)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tiling", "shape"),
    [
        (Tiling(stages=4), (256, 256, 320)),  # more steps than stages
        (Tiling(stages=5, in_flight=1), (128, 256, 192)),  # fewer epilogue buffers than slices
        (Tiling(256, stages=3), (128, 512, 128)),
        (Tiling(256, stages=4, in_flight=1), (128, 256, 128)),  # a single epilogue buffer
        pytest.param(Tiling(128, 2, cluster=2), (128, 512, 128), marks=NEEDS_CLUSTERS),
        pytest.param(Tiling(256, 2, cluster=2), (128, 512, 128), marks=NEEDS_CLUSTERS),
    ],
    ids=str,
)
def test_update_in_every_tiling(tiling: Tiling, shape: tuple[int, int, int]) -> None:
    check_update(tiling, *shape, batch=2)


@NEEDS_TRANSPOSED_REFS
@pytest.mark.parametrize("tiles", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_gram_is_exactly_symmetric(tiles: int) -> None:
    rows = 128 * tiles
    x = bf16(normal(1, rows, 128))
    (y,) = run(
        Product(transpose_right=True, symmetric=True, blocks=2, tiling=Tiling(stages=2)), x, x
    )
    assert not compat.races_found()
    np.testing.assert_allclose(y, x @ np.swapaxes(x, -1, -2), **BF16)
    np.testing.assert_array_equal(y, np.swapaxes(y, -1, -2))


@NEEDS_TRANSPOSED_REFS
@pytest.mark.parametrize("tiles", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_polynomial_adds_its_operand(tiles: int) -> None:
    x = normal(1, 128 * tiles, 128 * tiles)
    x = bf16(x + np.swapaxes(x, -1, -2))
    product = Product(alpha=0.5, beta=-4.0, symmetric=True, blocks=2, tiling=Tiling(stages=2))
    (y,) = run(product, x, x, x)
    assert not compat.races_found()
    np.testing.assert_allclose(y, 0.5 * (x @ x) - 4.0 * x, rtol=2.0**-7, atol=2e-3)
    np.testing.assert_array_equal(y, np.swapaxes(y, -1, -2))


@NEEDS_TRANSPOSED_REFS
def test_the_race_detector_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mirrored without its guard, a diagonal tile is written by both warpgroups."""
    unguarded: dict[str, Any] = {**vars(module.pl), "when": lambda _: lambda f: f()}
    monkeypatch.setattr(module, "pl", types.SimpleNamespace(**unguarded))
    x = normal(1, 128, 64)
    run(Product(transpose_right=True, symmetric=True, tiling=Tiling(stages=2)), x, x)
    assert compat.races_found()


@pytest.mark.parametrize("tiles", [1, 2, 3, 4, 7, 8, 16])
def test_folded_triangle_covers_every_pair_once(tiles: int) -> None:
    rows = 128 * tiles
    (_, p, q), place = module._tiles(Product(symmetric=True), (1, rows, rows))
    pairs = [tuple(int(x) for x in place(0, i, j)[1:]) for i in range(p) for j in range(q)]
    assert sorted(pairs) == [(i, j) for i in range(tiles) for j in range(i, tiles)]


@pytest.mark.parametrize(
    ("product", "rows", "columns", "rule"),
    [
        (Product(), 192, 128, "192x64 and 64x128 does not divide into tiles of 128x128x64"),
        (Product(tiling=Tiling(cluster=2)), 128, 128, "tiles of 128x256x64: pad it"),
        (Product(symmetric=True), 128, 256, "a symmetric product has square tiles"),
        (Product(symmetric=True, tiling=Tiling(stages=6)), 128, 128, "take fewer stages"),
        (Product(tiling=Tiling(256, stages=5)), 128, 256, "bytes of shared memory"),
    ],
)
def test_what_does_not_fit_is_refused(product: Product, rows: int, columns: int, rule: str) -> None:
    operands = jnp.zeros((1, rows, 64), jnp.bfloat16), jnp.zeros((1, 64, columns), jnp.bfloat16)
    with pytest.raises(ValueError, match=rule):
        product(*operands)


def test_tilings_that_are_not_built_are_refused() -> None:
    with pytest.raises(ValueError, match="choose 128 or 256 columns"):
        Tiling(columns=64)
    with pytest.raises(ValueError, match="at least 2 stages"):
        Tiling(stages=1, in_flight=1)
