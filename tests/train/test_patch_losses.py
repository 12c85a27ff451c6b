"""Losses of single patches within a training step, and their probe."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.conftest import micro, random_params
from tests.train.test_sharding import CONFIG, batch
from zipmap_jax.convert.rules import flatten, nest
from zipmap_jax.losses import LossConfig
from zipmap_jax.models.config import Mixer
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.structs import Views
from zipmap_jax.train.batches.query_split import split_batch
from zipmap_jax.train.config.schema import MeshConfig
from zipmap_jax.train.linear_probe import NAME, VIEWS, with_probe, without_probe
from zipmap_jax.train.query import query_scene_loss
from zipmap_jax.train.sharding import VIEWS as VIEWS_AXIS
from zipmap_jax.train.sharding import batch_shardings, make_mesh, shardings
from zipmap_jax.train.state import initial_state
from zipmap_jax.train.step import scene_loss, train_step

NOTHING = dict.fromkeys(("camera", "depth", "points", "normals", "colour", "query_depth"), 0.0)
LOSS = LossConfig(**NOTHING, matching=2.0, rays=3.0)


def parameters(mixer: Mixer = "fast_weights") -> dict[str, Any]:
    model = ZipMap(dataclasses.replace(micro("offline"), mixer=mixer))
    params = random_params(model.config)
    return with_probe(params, dataclasses.replace(CONFIG, model=model.config, loss=LOSS))


def one_microbatch() -> dict[str, jax.Array]:
    return {name: jnp.asarray(x[0]) for name, x in batch().items()}


@pytest.mark.parametrize("mixer", ["fast_weights", "attention"])
def test_queries_keys_and_probe_learn_from_them(mixer: Mixer) -> None:
    model = ZipMap(dataclasses.replace(micro("offline"), mixer=mixer))
    objective, params = scene_loss(model, LOSS), parameters(mixer)

    # Gradients of the tensors below alone; those of the heads would triple the program.
    @functools.partial(jax.value_and_grad, has_aux=True)
    def loss(trained: Any, rest: Any, batch: Any) -> Any:
        return objective(nest(rest | trained), batch)

    layer = "ttt/to_qkv" if mixer == "fast_weights" else "attn/qkv"
    leaves = flatten(params)
    trained = {
        name: leaves.pop(name) for name in (f"global_blocks/{layer}/kernel", f"{NAME}/kernel")
    }
    (value, parts), gradient = jax.jit(loss)(trained, leaves, one_microbatch())
    expected = sum(float(x) for name, x in parts.items() if name.startswith("weighted/"))
    assert float(value) == pytest.approx(expected, rel=1e-5)
    assert 0.5 < float(parts["raw/matching"]) < 2
    assert float(parts["weighted/rays"]) == pytest.approx(3 * float(parts["raw/rays"]), rel=1e-5)
    assert all(np.isfinite(kernel).all() for kernel in gradient.values())
    assert all(float(jnp.abs(kernel).max()) > 0 for kernel in gradient.values())


def test_queries_and_keys_are_those_of_the_fast_weights() -> None:
    """Unit vectors, one per patch; the query of a patch matches its key for equal images."""
    model, params = ZipMap(micro("offline")), random_params(micro("offline"))
    ttt = params["global_blocks"]["ttt"]["to_qkv"]
    width = model.config.width
    same = {"kernel": ttt["kernel"].at[..., :width].set(ttt["kernel"][..., width : 2 * width])}
    same["bias"] = ttt["bias"].at[..., :width].set(ttt["bias"][..., width : 2 * width])
    params["global_blocks"]["ttt"]["to_qkv"] = same
    images = jnp.repeat(jax.random.uniform(jax.random.key(0), (1, 1, 28, 42, 3)), 2, axis=1)

    @jax.jit
    def patch_queries_and_keys(params: Any) -> tuple[jax.Array, jax.Array]:
        taps = model.forward(params, model.init_state(params), Views(images), keep_taps=True)[2]
        return model.patch_queries_and_keys(params, taps)

    queries, keys = patch_queries_and_keys(params)
    assert queries.shape == keys.shape == (1, 2, 4, 6, width)
    np.testing.assert_allclose(jnp.linalg.norm(keys, axis=-1), 1, atol=1e-3)
    np.testing.assert_allclose(queries[:, 0], keys[:, 1], atol=1e-5)


@pytest.mark.slow
def test_devices_that_share_views_agree_with_one() -> None:
    results = []
    for mesh in (MeshConfig(1, 1, 1), MeshConfig(1, 1, 4)):
        where = make_mesh(mesh, jax.devices()[: mesh.views])
        model = ZipMap(micro("offline"), views_axis=VIEWS_AXIS if mesh.views > 1 else None)
        state = initial_state(parameters(), CONFIG.optim)
        state = jax.device_put(state, shardings(state, where))
        data = {name: x[:1] for name, x in batch().items()}
        data = jax.device_put(data, batch_shardings(data, where))
        step = functools.partial(
            train_step, loss=scene_loss(model, LOSS), config=CONFIG, mesh=where
        )
        results.append(jax.jit(step)(state, data, 10)[1])
    for name in ("raw/matching", "raw/rays"):
        np.testing.assert_allclose(results[0][name], results[1][name], rtol=1e-5)


def test_the_probe_is_not_exported() -> None:
    assert set(parameters()) - set(without_probe(parameters())) == {NAME}
    assert with_probe({}, CONFIG) == {}
    loss = dataclasses.replace(LOSS, rays=0.0, views=1.0)
    both = with_probe(parameters(), dataclasses.replace(CONFIG, loss=loss))
    assert set(both) - set(without_probe(both)) == {NAME, VIEWS}
    assert both[VIEWS]["kernel"].shape == (4, 2 * CONFIG.model.width, 4)


@pytest.mark.slow
@pytest.mark.parametrize("terms", [{"matching": 2.0}, {"rays": 3.0, "views": 4.0}])
def test_patches_of_rendered_views_ask_and_tell(terms: dict[str, float]) -> None:
    model = ZipMap(micro("state_query"))
    config = LossConfig(camera_kind="absolute", rays_frame="first", **NOTHING, **terms)
    data = split_batch(jax.random.key(0), one_microbatch(), views=2, targets=2)
    params = with_probe(
        random_params(model.config), dataclasses.replace(CONFIG, model=model.config, loss=config)
    )
    # At zero a map hands no gradient on to the tokens that it reads.
    for probe in (NAME, VIEWS):
        if probe in params:
            params[probe]["kernel"] += 0.01
    loss = jax.jit(jax.value_and_grad(query_scene_loss(model, config), has_aux=True))
    (value, parts), gradient = loss(params, data)
    expected = sum(weight * float(parts[f"raw/{name}"]) for name, weight in terms.items())
    assert float(value) == pytest.approx(expected, rel=1e-5)
    assert all(0.1 < float(parts[f"raw/{name}"]) < 5 for name in terms)
    assert float(jnp.abs(gradient["ray_embed"]["proj"]["kernel"]).max()) > 0
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient["nvs_head"]))
    for probe in set(params) & {NAME, VIEWS}:
        assert float(jnp.abs(gradient[probe]["kernel"]).max()) > 0


def test_the_frame_of_rays_is_that_of_rendered_views() -> None:
    with pytest.raises(ValueError, match=r"loss\.rays_frame is 'mean': set it to 'first'"):
        query_scene_loss(ZipMap(micro("state_query")), LOSS)


def test_view_losses_need_rendered_views() -> None:
    with pytest.raises(ValueError, match=r"loss\.views is 2\.0, but no views are rendered"):
        scene_loss(ZipMap(micro("offline")), LossConfig(views=2.0))
