"""A step is the same on every mesh and communicates only what it needs."""

from __future__ import annotations

import dataclasses
import functools
import re
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
from zipmap_jax.train.step import gather_views, scene_loss, train_step

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


@functools.cache
def after_a_step(mesh: MeshConfig) -> tuple[TrainState, dict[str, jax.Array]]:
    devices = mesh.data * mesh.fsdp * mesh.views
    where = make_mesh(mesh, jax.devices()[:devices])
    model = dataclasses.replace(MODEL, views_axis=VIEWS if mesh.views > 1 else None)
    state = jax.device_put(start(), shardings(start(), where))
    data = jax.device_put(batch(), batch_shardings(batch(), where))
    step = functools.partial(
        train_step, loss=scene_loss(model, LossConfig()), config=CONFIG, mesh=where
    )
    return jax.jit(step, donate_argnames="state")(state, data, 10)


@pytest.mark.parametrize(
    "sizes",
    [
        (2, 2, 2),
        (8, 1, 1),
        (1, 8, 1),
    ],
)
def test_a_step_is_the_same_on_every_mesh(sizes: tuple[int, int, int]) -> None:
    one, metrics = after_a_step(MeshConfig(1, 1, 1))
    many, also = after_a_step(MeshConfig(*sizes))
    for name in metrics:
        np.testing.assert_allclose(also[name], metrics[name], rtol=2e-4, atol=1e-6, err_msg=name)
    # All tensors together: Adam's first step is the sign of the gradient, so single entries whose
    # gradient is rounding noise go one way or the other.
    for part in ("params", "opt_state", "ema"):
        a, b = flat(getattr(one, part)), flat(getattr(many, part))
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a)
    # A step by the learning rate is 1000 times the tolerance between meshes.
    assert np.linalg.norm(flat(one.params) - flat(start().params)) > 1e-3


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
