from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.losses.robust import (
    below_quantile,
    clamp,
    kth_smallest,
    masked_mean,
    quantile_rank,
    safe_norm,
)


def test_clamp():
    x = jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, 250.0, -250.0, 3.0])
    np.testing.assert_array_equal(clamp(x), [0, 0, 0, 100, -100, 3])


def test_masked_mean_ignores_what_it_does_not_select():
    x = jnp.asarray([1.0, jnp.nan, 3.0])
    assert masked_mean(x, jnp.asarray([True, False, True])) == 2
    assert masked_mean(x, jnp.zeros(3, bool)) == 0
    gradient = jax.grad(lambda x: masked_mean(x, jnp.asarray([True, False, True])))(x)
    np.testing.assert_array_equal(gradient, [0.5, 0, 0.5])


def test_norm_of_zero_has_no_gradient():
    gradient = jax.grad(lambda x: jnp.sum(safe_norm(x)))(jnp.asarray([[0.0, 0, 0], [3, 0, 4]]))
    np.testing.assert_allclose(gradient, [[0, 0, 0], [0.6, 0, 0.8]], rtol=1e-6)


def test_kth_smallest_is_the_sorted_entry():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=40), [0.0, -0.0, np.inf, 1e-30, -1e30, 2.0, 2.0, 2.0]])
    x = jnp.asarray(x, jnp.float32)
    ranked = jax.vmap(lambda k: kth_smallest(x, k))(jnp.arange(x.size))
    np.testing.assert_array_equal(ranked, np.sort(x))


@pytest.mark.parametrize("number", [0, 1, 2, 26, 1001, 2000, 16_777_217, 12_879_553, 2**31 - 1])
def test_rank_is_exact(number):
    expected = round(0.98 * max(number - 1, 0))
    assert int(quantile_rank(0.98, jnp.asarray(number, jnp.int32))) == expected


@pytest.mark.parametrize(("number", "kept"), [(1000, 1000), (1001, 1001), (2000, 1959)])
def test_upper_tail(number, kept):
    x = jnp.arange(number) / 20
    keep = below_quantile(x, jnp.ones(number, bool), 0.98)
    assert int(keep.sum()) == kept
    assert bool(keep[:kept].all())


def test_upper_tail_of_a_selection():
    rng = np.random.default_rng(1)
    x, mask = rng.normal(size=4000).astype(np.float32), rng.random(4000) < 0.7
    keep = np.asarray(below_quantile(jnp.asarray(x), jnp.asarray(mask), 0.98))
    ordered = np.sort(x[mask])
    expected = mask & (x < ordered[round(0.98 * (ordered.size - 1))])
    np.testing.assert_array_equal(keep, expected)
