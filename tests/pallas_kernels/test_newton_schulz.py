"""Axioms of the orthogonalisation; recorded values are in tests/parity."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import newton_schulz


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
