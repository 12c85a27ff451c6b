"""Programs of complete runs: state queries with LPIPS, and views split over devices."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from tests.models.conftest import micro
from zipmap_jax.compilation.flops import flops_of
from zipmap_jax.data.config import BatchShape, DataConfig
from zipmap_jax.losses import LossConfig
from zipmap_jax.losses.perceptual import WIDTHS, Vgg
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train.batches.procedural import ProceduralSource
from zipmap_jax.train.compiled_step import CompiledStep, objective
from zipmap_jax.train.config.schema import MeshConfig, OptimConfig, TrainConfig
from zipmap_jax.train.initial_weights import random_parameters
from zipmap_jax.train.plan.shapes import batch_shapes
from zipmap_jax.train.sharding import AXES, VIEWS, batch_spec, laid_out, make_mesh, shardings
from zipmap_jax.train.state import initial_state

# Enough tokens for gradients of full rank: Newton-Schulz amplifies rounding in empty directions.
BUCKET = BatchShape(views=4, height=28, width=42, targets=2)
CONFIG = TrainConfig(
    name="test",
    model=micro("state_query"),
    data=DataConfig(buckets=(BUCKET,), microbatches=2),
    loss=LossConfig(camera_kind="absolute"),
    optim=OptimConfig(lr=1e-4),
    steps=10,
)


def lpips_shapes() -> dict[str, Any]:
    image = jax.ShapeDtypeStruct((1, 28, 42, 3), jnp.float32)
    vgg = jax.eval_shape(Vgg().init, jax.random.key(0), image)["params"]
    linear = {
        f"stage{i}": {"kernel": jax.ShapeDtypeStruct((1, 1, width, 1), jnp.float32)}
        for i, width in enumerate(WIDTHS)
    }
    return {"vgg": vgg, "linear": linear}


def test_lpips_weights_are_an_argument_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zipmap_jax.train.compiled_step.read_perceptual", lambda _: lpips_shapes())
    config = dataclasses.replace(CONFIG, loss=LossConfig("absolute", perceptual_weights="lpips"))
    mesh = make_mesh(MeshConfig(data=2, views=2), jax.devices()[:4])
    program = CompiledStep(config, mesh)
    source = ProceduralSource(config.data, config.steps, 0, mesh)
    model = ZipMap(config.model)
    state = jax.eval_shape(lambda: initial_state(model.init(jax.random.key(0)), config.optim))
    state = laid_out(state, shardings(state, mesh))
    text = program.trace(state, source.shapes(BUCKET)).lower().as_text()
    # 512 x 512 convolutions are arguments; as constants they would be 59 MB of text.
    assert "tensor<3x3x512x512xf32>" in text
    assert len(text) < 20e6


def test_recomputation_is_not_counted() -> None:
    bucket = BatchShape(views=2, height=28, width=28)
    data = DataConfig(buckets=(bucket,))
    plain = dataclasses.replace(CONFIG, model=micro("offline"), data=data, loss=LossConfig())
    twice = dataclasses.replace(plain, remat=True)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    model = ZipMap(plain.model)
    state = jax.eval_shape(lambda: initial_state(model.init(jax.random.key(0)), plain.optim))
    state = laid_out(state, shardings(state, mesh))
    batch = {
        name: jax.ShapeDtypeStruct((1, *x.shape), x.dtype)
        for name, x in batch_shapes(bucket, 1).items()
    }
    program = CompiledStep(twice, mesh)
    flops = program.count_flops(state, batch)
    assert flops == CompiledStep(plain, mesh).count_flops(state, batch) > 1e6
    assert flops_of(program.trace(state, batch)) > 1.1 * flops


@pytest.mark.slow
def test_devices_that_share_input_and_target_views_agree_with_one() -> None:
    model = ZipMap(CONFIG.model)
    params = jax.jit(lambda: random_parameters(model, jax.random.key(0), 0.02))()
    source = ProceduralSource(CONFIG.data, 10, 0, make_mesh(MeshConfig(), jax.devices()[:1]))
    batch = {name: x[0] for name, x in jax.device_get(source(0)).items()}
    mesh = make_mesh(MeshConfig(views=2), jax.devices()[:2])

    def gradient(axis: str | None) -> Any:
        return jax.grad(lambda p, b: objective(CONFIG, axis)(p, b)[0])

    def on_device(params: Any, batch: Any) -> Any:
        return jax.lax.pmean(gradient(VIEWS)(params, batch), AXES)

    split = jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(
            PartitionSpec(),
            {n: PartitionSpec(*batch_spec(n)[1:]) for n in batch},
        ),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    whole = jax.jit(gradient(None))
    one, two = flat(whole(params, batch)), flat(jax.jit(split)(params, batch))
    # Sums in another order are rounding; how far rounding carries, a last bit of the parameters
    # tells: Newton-Schulz amplifies it to about 1e-5 here, more or less with the machine.
    rounding = np.linalg.norm(flat(whole(jax.tree.map(last_bits_flipped, params), batch)) - one)
    assert np.linalg.norm(one) > 0
    assert rounding <= 5e-5 * np.linalg.norm(one)
    assert np.linalg.norm(one - two) <= 3 * rounding


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(x).astype(np.float64) for x in jax.tree.leaves(tree)])


def last_bits_flipped(x: jax.Array) -> jax.Array:
    up = jax.random.bernoulli(jax.random.key(1), shape=x.shape)
    return jnp.where(up, jnp.nextafter(x, jnp.inf), jnp.nextafter(x, -jnp.inf))
