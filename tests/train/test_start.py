"""What a run from random weights starts from."""

from __future__ import annotations

import jax
import numpy as np

from tests.models.conftest import MICRO
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train.start import random_parameters, sine_positions


def test_neighbouring_positions_are_alike() -> None:
    table = sine_positions(8, 32)
    assert table.shape == (1, 65, 32)
    assert not table[0, 0].any()
    grid = table[0, 1:].reshape(8, 8, 32)
    # Columns fill the first half of the channels, rows the second.
    np.testing.assert_array_equal(grid[0, :, :16], grid[5, :, :16])
    np.testing.assert_array_equal(grid[:, 0, 16:], grid[:, 5, 16:])
    distance = np.linalg.norm(grid[3, 3] - grid[3], axis=-1)
    assert distance[3] == 0
    assert np.all(distance[[2, 4]] < 0.7 * distance[[0, 7]])
    assert len(np.unique(grid.reshape(64, 32).round(5), axis=0)) == 64


def test_tokens_can_be_drawn_for_a_start_from_nothing() -> None:
    model, key = ZipMap(MICRO), jax.random.key(0)
    init = jax.jit(random_parameters, static_argnums=(0, 2))
    published, scratch = init(model, key, None), init(model, key, 0.02)
    assert np.abs(published["camera_token"]).max() < 1e-4
    assert 0.01 < np.std(scratch["camera_token"]) < 0.03
    # Everything else is as the model draws it.
    np.testing.assert_array_equal(
        scratch["frame_blocks"]["mlp"]["fc1"]["kernel"],
        published["frame_blocks"]["mlp"]["fc1"]["kernel"],
    )
