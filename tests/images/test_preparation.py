"""Values of network images on the device."""

from __future__ import annotations

import jax
import numpy as np

from zipmap_jax.images.preparation import CropOrPad


def test_bytes_become_the_floats_of_the_host():
    """To the bit: XLA compiles a division by 255 as a multiplication, which rounds otherwise."""
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    floats = jax.jit(CropOrPad(14).normalise)(values)
    np.testing.assert_array_equal(floats, values.astype(np.float32) / np.float32(255))
    assert floats.dtype == np.float32
