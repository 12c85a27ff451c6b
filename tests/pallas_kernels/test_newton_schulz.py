"""Axioms of the orthogonalisation; recorded values are in tests/parity."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import newton_schulz, newton_schulz_update


def matrix(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def test_singular_values_end_near_one() -> None:
    values = np.linalg.svd(np.asarray(newton_schulz(matrix(3, 16, 64))), compute_uv=False)
    assert values.min() > 0.65
    assert values.max() < 1.25


@pytest.mark.parametrize("precision", ["fp32", "bf16_operands", "bf16"])
def test_transposes_commute(precision: str) -> None:
    g = matrix(2, 24, 40)
    tall = newton_schulz(jnp.swapaxes(g, -1, -2), precision=precision)  # type: ignore[arg-type]
    wide = newton_schulz(g, precision=precision)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.swapaxes(tall, -1, -2), wide)


def test_scale_of_the_input_does_not_matter() -> None:
    g = matrix(1, 12, 20)
    np.testing.assert_allclose(newton_schulz(1e4 * g), newton_schulz(g), atol=2e-6)


def test_zero_stays_zero_with_a_finite_gradient() -> None:
    zero = jnp.zeros((1, 8, 8))
    assert not newton_schulz(zero).any()
    gradient = jax.grad(lambda x: newton_schulz(x, steps=2).sum())(zero)
    assert jnp.isfinite(gradient).all()


def test_bf16_operands_stay_close_to_fp32() -> None:
    g = matrix(1, 64, 128)
    exact = newton_schulz(g)
    rounded = newton_schulz(g, precision="bf16_operands")
    error = jnp.linalg.norm(rounded - exact) / jnp.linalg.norm(exact)
    assert 1e-4 < error < 0.05
    assert rounded.dtype == jnp.float32


def test_unknown_precision_and_implementation_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown precision 'float32'"):
        newton_schulz(matrix(1, 4, 4), precision="float32")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown implementation 'triton'"):
        newton_schulz(matrix(1, 4, 4), implementation="triton")  # type: ignore[arg-type]


def test_update_restores_the_norm_of_every_column() -> None:
    d, m = 16, 32
    weights = matrix(2, d, m), matrix(2, m, d), matrix(2, d, m)
    gradients = [matrix(2, d, m) * scale for scale in (1.0, -3.0, 1e-3)]
    norms = [jnp.linalg.norm(w, axis=-2, keepdims=True) * 2 for w in weights]
    moved = newton_schulz_update(weights, tuple(gradients), tuple(norms))
    for w, n in zip(moved, norms, strict=True):
        np.testing.assert_allclose(jnp.linalg.norm(w, axis=-2, keepdims=True), n, rtol=1e-4)


def test_update_moves_along_the_orthogonalised_gradient() -> None:
    d, m = 16, 32
    weights = matrix(d, m), matrix(m, d), matrix(d, m)
    gradients = [matrix(d, m) * scale for scale in (1.0, -3.0, 1e-3)]
    ones = jnp.ones((1, m)), jnp.ones((1, d)), jnp.ones((1, m))
    moved = newton_schulz_update(weights, tuple(gradients), ones)
    deltas = [newton_schulz(g) for g in gradients]
    deltas[1] = deltas[1].T
    for w, old, delta in zip(moved, weights, deltas, strict=True):
        column = (old + delta)[:, 3]
        expected = column / jnp.linalg.norm(column)
        # The 1e-5 beside the norm of a column, about 4.
        np.testing.assert_allclose(w[:, 3], expected, rtol=2e-5, atol=1e-6)
