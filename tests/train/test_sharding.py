"""A step is the same on every mesh and communicates only what it needs."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from tests.models.conftest import micro, random_params
from zipmap_jax.data.config import BatchShape, DataConfig
from zipmap_jax.losses import LossConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.structs import Views
from zipmap_jax.train.config.schema import EmaConfig, MeshConfig, OptimConfig, TrainConfig
from zipmap_jax.train.sharding import VIEWS, batch_shardings, make_mesh, shardings, spec_of
from zipmap_jax.train.state import TrainState, initial_state
from zipmap_jax.train.step import (
    Batch,
    LossFn,
    Metrics,
    gather_views,
    mean_gradients,
    scene_loss,
    train_step,
)

MODEL = ZipMap(micro("offline"))
CONFIG = TrainConfig(
    name="test",
    model=MODEL.config,
    data=DataConfig(buckets=(BatchShape(4, 28, 42),), microbatches=8),
    optim=OptimConfig(lr=1e-4, warmup=0.0),
    ema=EmaConfig(start=0),
    steps=10,
)


@functools.cache
def batch() -> dict[str, np.ndarray]:
    """Eight microbatches of one scene of four views, all random."""
    random = np.random.default_rng(0)
    shape = (8, 1, 4)
    w2c = np.broadcast_to(np.eye(4, dtype=np.float32), (*shape, 4, 4)).copy()
    w2c[..., :3, 3] = random.normal(size=(*shape, 3)) * 0.3
    k = np.array([[30, 0, 21], [0, 30, 14], [0, 0, 1]], np.float32)
    depth = random.uniform(1, 3, (*shape, 28, 42)).astype(np.float32)
    return {
        "images": random.uniform(size=(*shape, 28, 42, 3)).astype(np.float32),
        "depth": depth,
        "valid": random.uniform(size=depth.shape) < 0.9,
        "intrinsics": np.broadcast_to(k, (*shape, 3, 3)).copy(),
        "w2c": w2c,
    }


@functools.cache
def start() -> TrainState:
    return jax.device_get(initial_state(random_params(MODEL.config), CONFIG.optim))


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(tree)])


def quadratic(params: Any, batch: Batch, axis: str | None) -> tuple[jax.Array, Metrics]:
    """An objective of parameters of every kind of layout, which needs all views of a scene."""
    every = gather_views({name: batch[name] for name in ("images", "depth")}, axis)
    rows = every["images"][..., 0].reshape(-1, 42)
    hidden = jnp.tanh(rows @ params["layer"]["kernel"] + params["layer"]["bias"][None])
    middle = jnp.median(hidden, axis=0, keepdims=True)
    out = (hidden - middle + params["camera_token"]) @ params["ttt"]["w0"]
    loss = jnp.mean((out - every["depth"].reshape(-1, 42)[:, :16]) ** 2)
    return loss, {"error": loss}


def quadratic_start() -> TrainState:
    random = np.random.default_rng(1)
    shapes = {"layer": {"kernel": (42, 16), "bias": (16,)}, "camera_token": (1, 16)}
    shapes["ttt"] = {"w0": (16, 16)}
    draw = functools.partial(jax.tree.map, is_leaf=lambda x: isinstance(x, tuple))
    params = draw(lambda shape: random.normal(size=shape).astype(np.float32), shapes)
    return jax.device_get(initial_state(params, CONFIG.optim))


def step_on(
    sizes: tuple[int, int, int], state: TrainState, loss_of: Callable[[str | None], LossFn]
) -> tuple[TrainState, Metrics]:
    """One step on the first devices, arranged as a mesh of `sizes`."""
    mesh = make_mesh(MeshConfig(*sizes), jax.devices()[: math.prod(sizes)])
    state = jax.device_put(state, shardings(state, mesh))
    data = jax.device_put(batch(), batch_shardings(batch(), mesh))
    loss = loss_of(VIEWS if sizes[2] > 1 else None)
    step = functools.partial(train_step, loss=loss, config=CONFIG, mesh=mesh)
    return jax.jit(step, donate_argnames="state")(state, data, 10)


@functools.cache
def quadratic_step(sizes: tuple[int, int, int]) -> tuple[TrainState, Metrics]:
    return step_on(sizes, quadratic_start(), lambda axis: functools.partial(quadratic, axis=axis))


@functools.cache
def model_step(sizes: tuple[int, int, int]) -> tuple[TrainState, Metrics]:
    return step_on(
        sizes,
        start(),
        lambda axis: scene_loss(dataclasses.replace(MODEL, views_axis=axis), LossConfig()),
    )


@pytest.fixture(scope="module", autouse=True)
def released() -> Iterator[None]:
    """Free the states and programs of this file after its last test."""
    yield
    quadratic_step.cache_clear()
    model_step.cache_clear()


MESHES = [(2, 2, 2), (8, 1, 1), (1, 8, 1)]


@pytest.mark.parametrize("sizes", MESHES)
def test_a_step_is_the_same_on_every_mesh(sizes: tuple[int, int, int]) -> None:
    same_steps(quadratic_step((1, 1, 1)), quadratic_step(sizes), quadratic_start())


@pytest.mark.slow
@pytest.mark.parametrize("sizes", MESHES)
def test_a_models_step_is_the_same_on_every_mesh(sizes: tuple[int, int, int]) -> None:
    same_steps(model_step((1, 1, 1)), model_step(sizes), start())


def same_steps(
    one: tuple[TrainState, Metrics], many: tuple[TrainState, Metrics], first: TrainState
) -> None:
    """Require equal metrics and states, and parameters that the step changed."""
    for name in one[1]:
        np.testing.assert_allclose(many[1][name], one[1][name], rtol=2e-4, atol=1e-6, err_msg=name)
    # All tensors together: Adam's first step is the sign of the gradient, so single entries whose
    # gradient is rounding noise go one way or the other.
    for part in ("params", "opt_state", "ema"):
        a, b = flat(getattr(one[0], part)), flat(getattr(many[0], part))
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a)
    # A step by the learning rate is far larger than the tolerance between meshes.
    assert np.linalg.norm(flat(one[0].params) - flat(first.params)) > 1e-3


def test_a_models_gradients_are_the_same_on_a_mesh_of_all_axes() -> None:
    """Losses of cameras and depth, and their gradients; views, parameters and microbatches split.

    The slow test above has the remaining losses.
    """
    config = dataclasses.replace(
        MODEL.config,
        embedder=dataclasses.replace(MODEL.config.embedder, depth=0),
        camera=dataclasses.replace(MODEL.config.camera, iterations=1),
    )
    results = []
    for mesh in (
        make_mesh(MeshConfig(), jax.devices()[:1]),
        make_mesh(MeshConfig(2, 2, 2)),
    ):
        model = ZipMap(config, views_axis=VIEWS if mesh.shape[VIEWS] > 1 else None)
        loss = scene_loss(model, LossConfig(points=0.0, normals=0.0))
        params = jax.device_put(random_params(config), shardings(random_params(config), mesh))
        data = jax.device_put(batch(), batch_shardings(batch(), mesh))
        gradients = functools.partial(mean_gradients, loss, mesh=mesh)
        results.append(jax.device_get(jax.jit(gradients)(params, data)))
    ((one, one_parts), one_gradient), ((many, many_parts), many_gradient) = results
    np.testing.assert_allclose(many, one, rtol=2e-4)
    for name in one_parts:
        np.testing.assert_allclose(
            many_parts[name], one_parts[name], rtol=2e-4, atol=1e-6, err_msg=name
        )
    a, b = flat(one_gradient), flat(many_gradient)
    assert np.linalg.norm(a) > 0
    assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a)


def test_parameters_and_moments_are_split_over_fsdp() -> None:
    state = jax.device_put(start(), shardings(start(), make_mesh(MeshConfig(2, 2, 2))))
    for part in (state.params, state.ema, state.opt_state):
        leaves = [leaf for leaf in jax.tree.leaves(part) if leaf.ndim]
        whole = sum(leaf.nbytes for leaf in leaves)
        own = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
        assert 0.5 * whole <= own < 0.55 * whole


def test_large_parameters_fall_to_an_eighth() -> None:
    shapes = jax.eval_shape(ZipMap(preset("large")).init, jax.random.key(0))
    mesh = make_mesh(MeshConfig(fsdp=8))
    layout = shardings(shapes, mesh)
    leaves = list(zip(jax.tree.leaves(shapes), jax.tree.leaves(layout), strict=True))
    whole = sum(leaf.size for leaf, _ in leaves)
    own = sum(np.prod(where.shard_shape(leaf.shape)) for leaf, where in leaves)
    assert own < 0.127 * whole


def test_indivisible_axes_stay_whole() -> None:
    mesh = make_mesh(MeshConfig(fsdp=8))
    path = (jax.tree_util.DictKey("head"), jax.tree_util.DictKey("kernel"))
    assert spec_of(path, jnp.zeros((4, 16)), mesh) == PartitionSpec(None, "fsdp")
    assert spec_of(path, jnp.zeros((4, 9)), mesh) == PartitionSpec(None, None)
    assert spec_of(path, jnp.zeros((16,)), mesh) == PartitionSpec()


def test_a_mesh_must_use_every_device() -> None:
    with pytest.raises(ValueError, match="does not fit 8 devices"):
        make_mesh(MeshConfig(fsdp=3))
    assert make_mesh(MeshConfig(fsdp=2, views=2)).shape == {"data": 2, "fsdp": 2, "views": 2}


@pytest.fixture(scope="module")
def split_update() -> tuple[Any, str]:
    """Predictions of four devices that share the views of a scene, and the compiled program."""
    mesh = make_mesh(MeshConfig(views=4), jax.devices()[:4])
    model = dataclasses.replace(MODEL, views_axis=VIEWS)

    def update(params: Any, images: jax.Array) -> Any:
        state, prediction = model.update(params, model.init_state(params), Views(images))
        return state, gather_views(prediction, VIEWS)

    spec = PartitionSpec(None, VIEWS)
    program = jax.jit(
        jax.shard_map(
            update,
            mesh=mesh,
            in_specs=(PartitionSpec(), spec),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
    )
    params = start().params
    compiled = program.lower(params, batch()["images"][0]).compile()
    return compiled(params, batch()["images"][0]), compiled.as_text()


def test_devices_that_share_the_views_agree_with_one(split_update: tuple[Any, str]) -> None:
    params = start().params
    images = Views(jnp.asarray(batch()["images"][0]))
    alone = jax.jit(MODEL.update)(params, MODEL.init_state(params), images)
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(split_update[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max())


def test_one_all_reduce_a_layer(split_update: tuple[Any, str]) -> None:
    """The loop over layers has one all-reduce for the three gradients of a layer."""
    width = MODEL.config.width
    all_reduces = re.findall(r"= (.+) all-reduce(?:-start)?\(", split_update[1])
    assert all_reduces == [f"f32[3,1,1,{width},{2 * width}]{{4,3,2,1,0}}"]


def test_a_streaming_model_cannot_share_views() -> None:
    with pytest.raises(ValueError, match=r"leave mesh\.views at 1"):
        ZipMap(micro("streaming"), views_axis=VIEWS)
