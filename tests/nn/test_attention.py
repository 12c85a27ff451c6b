from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.nn import attention


@pytest.mark.parametrize("masked", [False, True])
def test_one_head_at_a_time_equals_all_heads(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large scores are computed head by head, in the order of the heads."""
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(2, 3, 5, 4)), jnp.float32) for _ in range(3))
    valid = jnp.asarray(rng.random((2, 5)) < 0.7) if masked else None
    together = attention.attend(q, k, v, valid)
    monkeypatch.setattr(attention, "_SCORE_BYTES", 0)
    text = str(jax.make_jaxpr(lambda q: attention.attend(q, k, v, valid))(q))
    assert "scan" in text
    np.testing.assert_allclose(attention.attend(q, k, v, valid), together, atol=1e-6)
    by_hand = jax.nn.dot_product_attention(
        *(jnp.moveaxis(x, 1, 2) for x in (q, k, v)),
        mask=None if valid is None else valid[:, None, None],
    )
    np.testing.assert_allclose(together, jnp.moveaxis(by_hand, 1, 2), atol=1e-5)
