from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from zipmap_jax.nn.activations import activate


def test_directions_of_short_vectors_are_finite() -> None:
    """Lengths below 1e-8 are raised to it, as in the reference."""
    raw = jnp.asarray([[0.0, 0, 0], [3e-9, 0, 4e-9], [0, 3, 4]])
    values, confidence = activate(raw, "norm", None)
    assert confidence is None
    np.testing.assert_allclose(values, [[0, 0, 0], [0.3, 0, 0.4], [0, 0.6, 0.8]], rtol=1e-5)
    values, _ = activate(raw, "norm_exp", None)
    np.testing.assert_allclose(values[0], 0)
    np.testing.assert_allclose(values[2], np.expm1(5) * np.array([0, 0.6, 0.8]), rtol=1e-5)
