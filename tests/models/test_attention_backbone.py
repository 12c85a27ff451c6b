"""The backbone with attention among all views in place of fast weights."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.conftest import MICRO, micro, random_params
from tests.models.test_zipmap import close
from zipmap_jax.compilation.flops import flops_of
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.state import SceneState
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import BF16, CameraHeadConfig
from zipmap_jax.structs import HeadOutputs, Views

ATTENTION = dataclasses.replace(MICRO, mixer="attention")
REF_VIEW = dataclasses.replace(micro("ref_view"), mixer="attention")


@functools.cache
def program(config: ZipMapConfig) -> Any:
    """`forward`, compiled once per shape."""
    model = ZipMap(config)

    def forward(params: Any, state: SceneState, views: Views, chunk: int | None = None) -> Any:
        return model.forward(params, state, views, chunk=chunk)[:2]

    return jax.jit(forward, static_argnames="chunk")


def run(
    images: jax.Array,
    chunk: int | None = None,
    valid: jax.Array | None = None,
    config: ZipMapConfig = ATTENTION,
) -> tuple[SceneState, HeadOutputs]:
    model, params = ZipMap(config), random_params(config)
    state = model.init_state(params, images.shape[0])
    return program(config)(params, state, Views(images, valid), chunk=chunk)


def test_global_blocks_are_attention_blocks() -> None:
    params = jax.eval_shape(ZipMap(ATTENTION).init, jax.random.key(0))
    assert set(params["global_blocks"]) == {"norm1", "attn", "ls1", "norm2", "mlp", "ls2"}
    assert set(params["global_blocks"]["attn"]) == {"qkv", "proj", "q_norm", "k_norm"}
    chex.assert_trees_all_equal_shapes_and_dtypes(params["global_blocks"], params["frame_blocks"])


def test_shapes_ranges_and_count(images: Any) -> None:
    state, prediction = run(images)
    chex.assert_shape(prediction.pose_enc, (2, 2, 5, 9))
    chex.assert_shape([prediction.depth, prediction.depth_conf], (2, 5, 28, 42))
    chex.assert_tree_all_finite(prediction)
    assert state.views.tolist() == [5, 5]
    assert [w.shape[:3] for w in state.weights] == [(0, 2, 1)] * 3


def test_every_view_reaches_every_other_and_no_other_scene(images: Any) -> None:
    _, before = run(images)
    _, after = run(images.at[0, 3].set(0.5))
    change = jnp.abs(after.depth / before.depth - 1).max((2, 3))
    assert change[0].min() > 1e-3
    assert change[1].max() < 1e-5


@pytest.mark.parametrize(("config", "chunk"), [(ATTENTION, 1), (ATTENTION, 2), (REF_VIEW, 2)])
def test_chunk_size_does_not_change_the_result(
    config: ZipMapConfig, chunk: int, images: Any
) -> None:
    close(run(images, chunk, config=config)[1], run(images, config=config)[1])


def test_padded_views_change_nothing(images: Any) -> None:
    valid = jnp.asarray([[True] * 3 + [False] * 2, [True, False] * 2 + [True]])
    state, padded = run(images, 2, valid)
    _, other = run(jnp.where(valid[..., None, None, None], images, 0.3), 2, valid)
    assert state.views.tolist() == [3, 3]
    for scene, kept in enumerate((slice(0, 3), slice(0, 5, 2))):
        _, alone = run(images[scene : scene + 1, kept])
        close(padded.depth[scene, kept], alone.depth[0])
        close(padded.pose_enc[:, scene, kept], alone.pose_enc[:, 0])
        # Exactly: the weight of a masked key is zero.
        assert (padded.depth[scene, kept] == other.depth[scene, kept]).all()


def test_a_scene_of_padding_alone_stays_finite(images: Any) -> None:
    state, prediction = run(images, valid=jnp.asarray([[True] * 5, [False] * 5]))
    chex.assert_tree_all_finite(prediction)
    assert state.views.tolist() == [5, 0]


def test_order_of_views_only_permutes_without_a_reference_view(images: Any) -> None:
    order = jnp.array([3, 0, 4, 1, 2])
    _, straight = run(images)
    _, permuted = run(images[:, order])
    close(permuted.depth, straight.depth[:, order])
    close(permuted.pose_enc, straight.pose_enc[:, :, order])
    _, straight = run(images, config=REF_VIEW)
    _, permuted = run(images[:, order], config=REF_VIEW)
    assert jnp.abs(permuted.depth - straight.depth[:, order]).max() > 1e-3


def test_positions_within_a_view_matter() -> None:
    """Without positions, attention could not distinguish patches of equal content."""
    model, params = ZipMap(ATTENTION), random_params(ATTENTION)
    block = jax.tree.map(lambda leaf: leaf[0], params["global_blocks"])
    tokens = jnp.asarray(np.random.default_rng(4).normal(size=(2, 1, 1, 11, 32)), jnp.float32)

    def mix(x: jax.Array) -> jax.Array:
        return model.backbone._mix((None, block), x, None, (2, 3))

    swapped = jnp.arange(11).at[jnp.array([5, 9])].set(jnp.array([9, 5]))
    moved = mix(tokens[..., swapped, :])
    assert jnp.abs(moved - mix(tokens)[..., swapped, :]).max() > 1e-3
    views = mix(tokens[::-1])  # the same positions in other views
    close(views, mix(tokens)[::-1])


@pytest.mark.slow
def test_gradients_are_finite_nonzero_and_equal_with_rematerialisation(images: Any) -> None:
    params = random_params(ATTENTION)

    def gradient(model: ZipMap, chunk: int | None) -> Any:
        def loss(params: Any) -> jax.Array:
            state = model.init_state(params, 2)
            _, prediction = model.update(params, state, Views(images[:, :2]), chunk=chunk)
            return jnp.mean(prediction.depth)

        return jax.jit(jax.grad(loss))(params)

    plain = gradient(ZipMap(ATTENTION), None)
    chex.assert_tree_all_finite(plain)
    assert all(jnp.abs(g).max() > 0 for g in jax.tree.leaves(plain["global_blocks"]))
    close(gradient(ZipMap(ATTENTION, remat=True), 1)["global_blocks"], plain["global_blocks"], 1e-4)


def test_bf16_policy_stays_close(images: Any) -> None:
    model, params = ZipMap(ATTENTION, BF16), random_params(ATTENTION)
    _, rounded = jax.jit(model.update)(params, model.init_state(params, 2), Views(images))
    _, exact = run(images)
    assert rounded.depth.dtype == jnp.float32
    error = jnp.sqrt(jnp.mean((rounded.depth - exact.depth) ** 2) / jnp.mean(exact.depth**2))
    assert 1e-5 < error < 0.1  # bf16 has 8 bits; a fraction of the operands is rounded


def test_arithmetic_is_quadratic_and_that_of_fast_weights_linear() -> None:
    # Without the transformer camera head, which attends among the views as well.
    camera = CameraHeadConfig(kind="mlp")

    def growth(config: ZipMapConfig) -> float:
        """Cost of 8 to 16 views minus twice that of 4 to 8: 0 for a line, 96 c for c views^2."""
        model = ZipMap(dataclasses.replace(config, camera=camera))
        params = jax.eval_shape(model.init, jax.random.key(0))
        state = jax.eval_shape(lambda p: model.init_state(p, 1), params)

        def flops(views: int) -> float:
            images = jax.ShapeDtypeStruct((1, views, 28, 42, 3), "float32")
            return flops_of(jax.jit(model.update).trace(params, state, Views(images)))

        return (flops(16) - flops(8)) - 2 * (flops(8) - flops(4))

    tokens, layers = 2 * 3 + 5, 4
    of_one_pair_of_views = 2 * 2 * tokens**2 * ATTENTION.width  # scores, and sums weighted by them
    assert growth(MICRO) == 0
    assert growth(ATTENTION) == 96 * layers * of_one_pair_of_views


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(mixer="mamba"), "unknown mixer 'mamba': choose one of fast_weights, attention"),
        (dict(mixer="attention", window=1), "no state for windows.*window=1"),
        (dict(mixer="attention", ray_channels=9), "no state.*queries.*ray_channels=9"),
    ],
)
def test_invalid_configurations_raise(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(MICRO, **changes)


def test_queries_and_shared_views_raise(images: Any) -> None:
    model, params = ZipMap(ATTENTION), random_params(ATTENTION)
    state, rays = model.init_state(params, 1), jnp.zeros((1, 1, 28, 42, 9))
    for read in (model.read, model.forward_rays):
        with pytest.raises(ValueError, match="cannot be queried: load a state_query"):
            read(params, state, rays)
    with pytest.raises(ValueError, match=r"leave mesh\.views at 1"):
        ZipMap(ATTENTION, views_axis="views")
    ours = ZipMap(MICRO)
    with pytest.raises(ValueError, match="use the model that made it"):
        model.update(params, ours.init_state(random_params(MICRO), 2), Views(images))
    with pytest.raises(ValueError, match="use the model that made it"):
        ours.update(random_params(MICRO), model.init_state(params, 2), Views(images))
