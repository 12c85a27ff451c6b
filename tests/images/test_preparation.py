"""Network images on the device."""

from __future__ import annotations

import jax
import numpy as np

from zipmap_jax.images.preparation import CropOrPad


def test_normalise_equals_the_host_bit_for_bit():
    """XLA compiles a division by 255 as a multiplication, which rounds differently."""
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    floats = jax.jit(CropOrPad(14).normalise)(values)
    np.testing.assert_array_equal(floats, values.astype(np.float32) / np.float32(255))
    assert floats.dtype == np.float32
