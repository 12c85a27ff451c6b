"""The three verbs of ZipMap: results do not depend on chunks, batches or padding."""

from __future__ import annotations

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.conftest import STATE, close, compiled, micro, random_params, run, same
from zipmap_jax.errors import UserError
from zipmap_jax.geometry import decode_pose
from zipmap_jax.models.dense_heads import _runs
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import BF16
from zipmap_jax.structs import Views

VARIANTS = ("offline", "ref_view", "streaming", "state_query")


@pytest.mark.parametrize("variant", ["offline", "ref_view"])
@pytest.mark.parametrize("chunk", [1, 2])
def test_chunk_size_does_not_change_the_result(variant: Any, chunk: int, images: Any) -> None:
    same(run(variant, images, chunk), run(variant, images))


@pytest.mark.parametrize("variant", VARIANTS)
def test_shapes_ranges_and_count(variant: Any, images: Any) -> None:
    state, prediction = run(variant, images)
    iterations = 1 if variant == "streaming" else 2
    chex.assert_shape(prediction.pose_enc, (iterations, 2, 5, 9))
    chex.assert_shape([prediction.depth, prediction.depth_conf], (2, 5, 28, 42))
    chex.assert_shape(prediction.local_points, (2, 5, 28, 42, 3))
    chex.assert_tree_all_finite((state, prediction))
    assert (prediction.depth > 0).all()
    assert (prediction.depth_conf > 1).all()
    assert (prediction.local_points[..., 2] > 0).all()
    assert state.views.tolist() == [5, 5]


def test_predictions_depend_on_the_state(images: Any) -> None:
    """Other images in the same update change the prediction of the first."""
    _, alone = run("offline", images[:, :1])
    _, together = run("offline", images)
    change = jnp.abs(together.depth[:, :1] - alone.depth) / alone.depth
    assert change.max() > 1e-3


def test_scenes_of_a_batch_do_not_interact(images: Any) -> None:
    both = run("offline", images)
    first = run("offline", images[:1])
    close(first[1].depth, both[1].depth[:1])
    close(first[0].w0, both[0].w0[:, :1], STATE)


@pytest.mark.parametrize("chunk", [None, 2])
def test_padded_views_change_nothing(chunk: int | None, images: Any) -> None:
    model, params = ZipMap(micro("offline")), random_params(micro("offline"))
    padded = Views(images.at[:, 3:].set(0.3), jnp.broadcast_to((jnp.arange(5) < 3)[None], (2, 5)))
    update = compiled(model)
    state, prediction = update(params, model.init_state(params, 2), padded, chunk=chunk)
    expected_state, expected = update(params, model.init_state(params, 2), Views(images[:, :3]))
    close(state, expected_state, STATE)
    close(prediction.depth[:, :3], expected.depth)
    close(prediction.pose_enc[:, :, :3], expected.pose_enc)


def test_order_of_views_only_permutes_without_a_reference_view(images: Any) -> None:
    order = jnp.array([3, 0, 4, 1, 2])
    _, straight = run("offline", images)
    _, permuted = run("offline", images[:, order])
    close(permuted.depth, straight.depth[:, order], 1e-4)
    close(permuted.pose_enc, straight.pose_enc[:, :, order], 1e-4)
    _, straight = run("ref_view", images)
    _, permuted = run("ref_view", images[:, order])
    assert jnp.abs(permuted.depth - straight.depth[:, order]).max() > 1e-3


def test_reading_does_not_depend_on_chunks_and_batches(images: Any) -> None:
    model, params = ZipMap(micro("state_query")), random_params(micro("state_query"))
    state, _ = compiled(model)(params, model.init_state(params, 2), Views(images))
    rays = jnp.asarray(np.random.default_rng(3).normal(size=(2, 3, 28, 42, 9)), jnp.float32)
    read = jax.jit(model.read, static_argnames="chunk")
    whole = read(params, state, rays)
    chex.assert_shape(whole.rgb, (2, 3, 28, 42, 3))
    assert ((whole.rgb > 0) & (whole.rgb < 1)).all()
    assert (whole.depth > 0).all()
    close(read(params, state, rays, chunk=2), whole)
    close(read(params, state, rays[:, 1:2]).rgb, whole.rgb[:, 1:2])
    empty = read(params, model.init_state(params, 2), rays)
    assert jnp.abs(empty.rgb - whole.rgb).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["offline", "streaming"])
def test_rematerialisation_does_not_change_gradients(variant: Any, images: Any) -> None:
    params = random_params(micro(variant))

    def gradient(model: ZipMap, chunk: int | None) -> Any:
        def loss(params: Any) -> jax.Array:
            state = model.init_state(params, 2)
            _, prediction, _ = model.forward(params, state, Views(images[:, :2]), chunk=chunk)
            return jnp.mean(prediction.depth) + jnp.mean(prediction.pose_enc**2)

        return jax.jit(jax.grad(loss))(params)

    def without_rates(grads: Any) -> Any:
        # Updates are scale-free, so the gradient of the learning-rate bias results from
        # cancellation and has at most three correct digits.
        ttt = {k: v for k, v in grads["global_blocks"]["ttt"].items() if k != "lr_fc"}
        return grads | {"global_blocks": grads["global_blocks"] | {"ttt": ttt}}

    plain = gradient(ZipMap(micro(variant)), None)
    for chunk in (None, 1):
        again = gradient(ZipMap(micro(variant), remat=True), chunk)
        close(without_rates(again), without_rates(plain), 1e-4)
        kernel = [g["global_blocks"]["ttt"]["lr_fc"]["kernel"] for g in (again, plain)]
        close(*kernel, 1e-2)
    used = jax.tree.map(lambda g: bool(jnp.abs(g).max() > 0), plain)
    used["embedder"].pop("mask_token")
    used.pop("local_point_head")
    unused = [path for path, ok in jax.tree_util.tree_leaves_with_path(used) if not ok]
    assert not unused, unused


def test_bf16_policy_stays_close_and_keeps_fp32_state(images: Any) -> None:
    config = micro("offline")
    params = random_params(config)
    model = ZipMap(config, dataclasses.replace(BF16, newton_schulz="fp32"))
    state, prediction = compiled(model)(params, model.init_state(params, 2), Views(images))
    _, exact = run("offline", images)
    chex.assert_trees_all_equal_dtypes(
        (state.weights, prediction), jax.tree.map(jnp.float32, (state.weights, prediction))
    )
    error = jnp.sqrt(jnp.mean((prediction.depth - exact.depth) ** 2) / jnp.mean(exact.depth**2))
    assert 1e-5 < error < 0.1  # bf16 has 8 bits; a fraction of the operands is rounded


def test_image_size_must_fit_the_patch(images: Any) -> None:
    with pytest.raises(ValueError, match=r"28x40.*multiples of 14"):
        run("offline", images[:, :, :, :40])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: (255 * x).astype(jnp.uint8), "uint8.*divide integer images by 255"),
        (lambda x: x[:, :0], r"\(2, 0, 28, 42, 3\)"),
        (lambda x: jnp.moveaxis(x, -1, 2), "reorder or add axes"),
        (lambda x: jnp.concatenate([x, x[..., :1]], -1), r"width, 3\) without zeros"),
        (lambda x: x[0], "reorder or add axes"),
    ],
    ids=["integers", "no views", "channels first", "RGBA", "no scenes"],
)
def test_invalid_images_raise(change: Any, message: str, images: Any) -> None:
    model, params = ZipMap(micro("offline")), random_params(micro("offline"))
    with pytest.raises(ValueError, match=message):
        model.update(params, model.init_state(params, 2), Views(change(images)))


def test_chunks_hold_at_least_one_view(images: Any) -> None:
    with pytest.raises(ValueError, match="chunk must be at least 1 view, got -1"):
        run("offline", images, chunk=-1)


def test_state_must_fit_the_model(images: Any) -> None:
    model, params = ZipMap(micro("offline")), random_params(micro("offline"))
    state = jax.tree.map(lambda w: w[:2] if w.ndim > 1 else w, model.init_state(params, 2))
    with pytest.raises(ValueError, match="use the model that made it"):
        model.update(params, state, Views(images))


def test_state_must_fit_the_batch(images: Any) -> None:
    model, params = ZipMap(micro("offline")), random_params(micro("offline"))
    with pytest.raises(ValueError, match="holds 3 scenes but images have 2"):
        model.update(params, model.init_state(params, 3), Views(images))


@pytest.mark.parametrize(
    ("variant", "chunk"), [("offline", None), ("offline", 2), ("streaming", 1)]
)
def test_all_scenes_can_start_from_one_state(variant: Any, chunk: int | None, images: Any) -> None:
    model, params = ZipMap(micro(variant)), random_params(micro(variant))
    update = compiled(model)
    one, two = model.init_state(params), model.init_state(params, 2)
    assert one.w0.shape[1] == 1
    same(
        update(params, one, Views(images), chunk=chunk),
        update(params, two, Views(images), chunk=chunk),
    )


def test_all_scenes_can_read_one_state(images: Any) -> None:
    model, params = ZipMap(micro("state_query")), random_params(micro("state_query"))
    state, _ = compiled(model)(params, model.init_state(params), Views(images[:1]))
    rays = jax.random.normal(jax.random.key(0), (2, 2, 28, 42, model.config.ray_channels))
    doubled = jax.tree.map(lambda x: jnp.repeat(x, 2, 1 if x.ndim > 1 else 0), state)
    read = jax.jit(model.read)
    close(read(params, state, rays), read(params, doubled, rays))


@pytest.mark.parametrize("chunk", [None, 2, 3])
def test_heads_process_scenes_in_parts(chunk: int | None) -> None:
    """Four scenes of two views: all together, one by one, and as many as fit into a chunk."""
    images = jax.random.uniform(jax.random.key(3), (4, 2, 28, 42, 3))
    same(run("offline", images, chunk), run("offline", images))
    assert [_runs(4, 2, images) for images in (None, 2, 3, 4, 8)] == [1, 4, 4, 2, 1]
    assert _runs(6, 1, 4) == 2


def test_reading_needs_a_query_model() -> None:
    model, params = ZipMap(micro("offline")), random_params(micro("offline"))
    with pytest.raises(ValueError, match=r"cannot be queried.*state_query"):
        model.read(params, model.init_state(params, 1), jnp.zeros((1, 1, 28, 42, 9)))


def test_update_decodes_the_last_pose_encoding(images: Any) -> None:
    model, params = ZipMap(micro("offline")), random_params(micro("offline"))
    state = model.init_state(params, 2)
    outputs = compiled(model)(params, state, Views(images))[1]
    _, prediction = jax.jit(model.update)(params, state, Views(images))
    w2c, intrinsics = decode_pose(np.asarray(outputs.pose_enc)[-1], (28, 42))
    close(prediction.w2c, w2c)
    close(prediction.intrinsics, intrinsics)
    close(prediction.local_points, outputs.local_points)


@pytest.mark.parametrize("flag", ["update", "reset", "masked"])
def test_unsupported_flags_raise(flag: str, images: Any) -> None:
    model, params = ZipMap(micro("offline")), random_params(micro("offline"))
    views = dataclasses.replace(Views(images), **{flag: jnp.ones((2, 5), bool)})
    with pytest.raises(UserError, match=f"not support Views with {flag}: leave the flags out"):
        model.update(params, model.init_state(params, 2), views)
