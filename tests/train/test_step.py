"""The step on a small quadratic: moving average, finite guard, microbatches."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.data.config import BatchShape, DataConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.train.config.schema import EmaConfig, MeshConfig, OptimConfig, TrainConfig
from zipmap_jax.train.sharding import batch_shardings, make_mesh, shardings
from zipmap_jax.train.state import TrainState, initial_state
from zipmap_jax.train.step import Batch, train_step

CONFIG = TrainConfig(
    name="test",
    model=preset("tiny"),
    data=DataConfig(buckets=(BatchShape(2, 42, 42),)),
    optim=OptimConfig(lr=0.1, warmup=0.0, weight_decay=0.0, clip=0.0),
    ema=EmaConfig(decay=0.9, start=2),
    steps=100,
)


def quadratic(params: dict[str, jax.Array], batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    error = batch["images"] - params["w"][None]
    loss = jnp.mean(error**2)
    return loss, {"loss_square": loss}


def start() -> TrainState:
    return initial_state({"w": jnp.array([1.0, -1.0])}, CONFIG.optim)


def one_device() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


StepFn = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def make_step(config: TrainConfig = CONFIG) -> StepFn:
    program = functools.partial(train_step, loss=quadratic, config=config, mesh=one_device())
    step = jax.jit(program)
    return functools.partial(step, steps=config.steps)


def batch(value: float = 3.0) -> Batch:
    return {"images": jnp.full((1, 4, 2), value)}


def test_loss_falls() -> None:
    step, state = make_step(), start()
    losses = []
    for _ in range(20):
        state, metrics = step(state, batch())
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0]
    assert int(state.step) == 20


def test_moving_average_copies_then_averages() -> None:
    step, state = make_step(), start()
    for index in range(5):
        before = state
        state, _ = step(state, batch())
        if index <= CONFIG.ema.start:
            expected = state.params["w"]
        else:
            expected = 0.9 * before.ema["w"] + 0.1 * state.params["w"]
        np.testing.assert_allclose(state.ema["w"], expected, rtol=1e-6)


def test_moving_average_interval() -> None:
    ema = EmaConfig(decay=0.9, start=0, interval=2)
    step, state = make_step(dataclasses.replace(CONFIG, ema=ema)), start()
    seen = []
    for _ in range(4):
        state, _ = step(state, batch())
        seen.append(np.asarray(state.ema["w"]))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[1] != seen[2]).all()
    np.testing.assert_array_equal(seen[2], seen[3])


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_nothing_but_the_counters(poison: float) -> None:
    step = make_step()
    good, _ = step(start(), batch())
    bad, metrics = step(good, batch(poison))
    for name in ("params", "opt_state", "ema"):
        jax.tree.map(np.testing.assert_array_equal, getattr(bad, name), getattr(good, name))
    assert int(bad.step) == 2
    assert int(bad.skipped) == int(bad.skipped_in_row) == 1
    assert int(metrics["skipped_in_row"]) == 1
    after, _ = step(bad, batch())
    assert int(after.skipped) == 1
    assert int(after.skipped_in_row) == 0
    assert (np.asarray(after.params["w"]) != np.asarray(bad.params["w"])).all()


def test_a_gradient_that_is_not_finite_skips_the_step_although_the_loss_is_finite() -> None:
    def loss(params: dict[str, jax.Array], batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        value, parts = quadratic(params, batch)
        # The square root is 0, and its derivative there is infinite times 0.
        return value + jnp.sum(jnp.sqrt(0.0 * params["w"])), parts

    program = functools.partial(train_step, loss=loss, config=CONFIG, mesh=one_device())
    before = start()
    after, metrics = jax.jit(program)(before, batch(), steps=CONFIG.steps)
    assert np.isfinite(metrics["loss"])
    assert int(after.skipped) == 1
    jax.tree.map(np.testing.assert_array_equal, after.params, before.params)


def test_the_learning_rate_follows_all_steps_also_the_skipped_ones() -> None:
    optim = dataclasses.replace(CONFIG.optim, warmup=0.5, lr_floor=0.0)
    step = make_step(dataclasses.replace(CONFIG, optim=optim))
    state, rates = start(), []
    for value in (3.0, float("nan"), float("nan"), 3.0):
        state, metrics = step(state, batch(value))
        rates.append(float(metrics["lr"]))
    assert rates == pytest.approx([0.1 * n / 50 for n in range(4)])
    assert int(state.skipped) == 2


@pytest.mark.parametrize("sizes", [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_one_broken_view_stops_all_devices(sizes: tuple[int, int, int]) -> None:
    """No device updates its parameters, wherever the broken view is."""
    mesh = make_mesh(MeshConfig(*sizes))

    def loss(params: Any, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        error = jnp.mean((params["layer"]["kernel"].sum() - batch["images"]) ** 2)
        return error, {"loss_square": error}

    step = jax.jit(functools.partial(train_step, loss=loss, config=CONFIG, mesh=mesh, steps=9))
    state = initial_state({"layer": {"kernel": jnp.ones((8, 8))}}, CONFIG.optim)
    state = jax.device_put(state, shardings(state, mesh))
    data = {"images": np.ones((8, 1, 2, 3), np.float32)}
    good, _ = step(state, jax.device_put(data, batch_shardings(data, mesh)))
    assert (np.asarray(good.params["layer"]["kernel"]) != 1).all()
    for microbatch in (0, 5):
        broken = {"images": data["images"].copy()}
        broken["images"][microbatch, 0, 1, 2] = np.nan
        bad, metrics = step(good, jax.device_put(broken, batch_shardings(broken, mesh)))
        for name in ("params", "opt_state", "ema"):
            jax.tree.map(same_on_every_device, getattr(bad, name), getattr(good, name))
        counters = [int(part.data) for part in bad.skipped.addressable_shards]
        assert counters == [1] * 8
        assert int(metrics["skipped_in_row"]) == 1


def same_on_every_device(new: jax.Array, old: jax.Array) -> None:
    for part, before in zip(new.addressable_shards, old.addressable_shards, strict=True):
        np.testing.assert_array_equal(part.data, before.data)


def test_microbatches_give_the_gradient_of_the_whole_batch() -> None:
    data = {"images": jnp.arange(8.0).reshape(1, 4, 2)}
    whole, _ = make_step()(start(), data)
    cut, metrics = make_step()(start(), {"images": data["images"].reshape(2, 2, 2)})
    np.testing.assert_allclose(cut.params["w"], whole.params["w"], rtol=1e-6)
    assert float(metrics["loss_square"]) == pytest.approx(float(metrics["loss"]))


def test_microbatches_must_divide_over_the_devices() -> None:
    mesh = make_mesh(MeshConfig(data=2), jax.devices()[:2])
    with pytest.raises(ValueError, match=r"\[3\] microbatches do not divide evenly over 2 devices"):
        train_step(
            start(), {"images": jnp.ones((3, 4, 2))}, 10, loss=quadratic, config=CONFIG, mesh=mesh
        )
