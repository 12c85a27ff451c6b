"""`configs/tiny_streaming.py` and `tiny_query.py`, which share parameters with `tiny`."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from zipmap_jax.convert.hub import ASSETS
from zipmap_jax.convert.rules import flatten
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train.config.registry import load
from zipmap_jax.train.config.schema import EmaConfig, TrainConfig
from zipmap_jax.train.initial_weights import start_exists
from zipmap_jax.train.linear_probe import with_probe
from zipmap_jax.train.optimizer import peak_rates, require_matches
from zipmap_jax.train.step import moving_average

NAMES = ("tiny_streaming", "tiny_query")


def shapes(config: TrainConfig) -> Any:
    return jax.eval_shape(ZipMap(config.model).init, jax.random.key(0))


@pytest.mark.parametrize("name", NAMES)
def test_patterns_match_parameters_and_the_start_exists(name: str) -> None:
    config = load(name)
    model = ZipMap(config.model)
    params = jax.eval_shape(lambda key: with_probe(model.init(key), config), jax.random.key(0))
    require_matches(params, config.optim)
    assert start_exists(config.start)
    assert not start_exists(dataclasses.replace(config.start, path="no-such-model"))


def test_frozen_parameters_keep_their_last_bit_in_the_average() -> None:
    frozen = np.random.default_rng(0).standard_normal(1000, np.float32)
    average: Any = {"x": frozen}
    for step in range(5):
        average = moving_average(average, {"x": frozen}, step, EmaConfig(decay=0.999, start=1))
    np.testing.assert_array_equal(average["x"], frozen)


def test_what_the_runs_train_fits_beside_tiny() -> None:
    """In bf16 the three models have less than 16 MiB together, 8.1 of which are `tiny`."""
    own = 0
    for config in map(load, NAMES):
        rates = flatten(peak_rates(shapes(config), config.optim))
        own += sum(leaf.size for path, leaf in flatten(shapes(config)).items() if rates[path])
    assert 2 * own < 7.8 * 2**20


def test_all_shipped_weights_together_fit_16_mib() -> None:
    assert sum(file.stat().st_size for file in ASSETS.rglob("*.safetensors")) <= 16 * 2**20
