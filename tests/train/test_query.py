"""State query: zipped and rendered views, rays, and the objective."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.convert.identify import expected_shapes, from_torch
from zipmap_jax.data.batch_arrays import POSED_VIEWS
from zipmap_jax.geometry import invert_pose, pose_from, quaternion_to_matrix
from zipmap_jax.losses import LossConfig, normalise_target, query_targets_from_batch
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import CameraHeadConfig, DenseHeadConfig, EmbedderConfig
from zipmap_jax.parity.synthetic import StateDict
from zipmap_jax.train.batches.query_split import split_batch, split_views
from zipmap_jax.train.query import query_rays, query_scene_loss


def splits(total: int, views: int, targets: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Many draws, one per row."""
    draw = jax.jit(jax.vmap(lambda key: split_views(key, total, views, targets)))
    zipped, rendered = draw(jax.random.split(jax.random.key(0), count))
    return np.asarray(zipped), np.asarray(rendered)


@pytest.mark.parametrize(
    ("total", "views", "targets"),
    [(5, 2, 3), (5, 2, 4), (10, 5, 6), (12, 12, 1), (20, 10, 11), (44, 22, 22)],
)
def test_split_follows_the_recipe(total: int, views: int, targets: int) -> None:
    zipped, rendered = splits(total, views, targets)
    assert zipped.shape == (40, views)
    assert rendered.shape == (40, targets)
    assert (zipped[:, :2] == [0, total - 1]).all()
    assert (zipped[:, 2:] % (total // (views - 1)) == 0).all()
    for inputs, outputs in zip(zipped, rendered, strict=True):
        assert len(set(inputs)) == views
        assert len(set(outputs)) == targets
        assert set(outputs) <= set(range(total))
        assert len(set(inputs) & set(outputs)) <= 1


def test_all_views_are_used_when_no_more_were_drawn_than_needed() -> None:
    zipped, rendered = splits(7, 4, 4)
    again = set()
    for inputs, outputs in zip(zipped, rendered, strict=True):
        assert set(inputs) | set(outputs) == set(range(7))
        (both,) = set(inputs) & set(outputs)
        again.add(int(both))
    assert len(again) > 3  # any zipped view may be rendered
    assert len({tuple(order) for order in rendered.tolist()}) > 20


def test_order_of_the_middle_views_is_random() -> None:
    zipped, _ = splits(10, 5, 6)
    assert {tuple(row) for row in np.sort(zipped[:, 2:]).tolist()} >= {(2, 4, 6), (4, 6, 8)}
    assert len({tuple(row) for row in zipped[:, 2:].tolist()}) > 10


@pytest.mark.parametrize(
    ("total", "views", "targets"), [(9, 1, 3), (9, 4, 0), (6, 4, 4), (3, 4, 1)]
)
def test_impossible_splits(total: int, views: int, targets: int) -> None:
    with pytest.raises(ValueError, match=f"got {views}, {targets} and {total}"):
        split_views(jax.random.key(0), total, views, targets)


def drawn(scenes: int = 2, views: int = 5, unit: float = 1.0) -> dict[str, jax.Array]:
    """Cameras on a line and walls of varying depth; a colour channel is the view's number."""
    rng = np.random.default_rng(3)
    shape = (scenes, views, 28, 42)
    quaternion = np.array([0.0, 0, 0, 1]) + 0.05 * rng.normal(size=(scenes, views, 4))
    translation = unit * 0.3 * rng.normal(size=(scenes, views, 3))
    depth = unit * (2 + rng.random(shape))
    images = rng.random((*shape, 3))
    images[..., 0] = np.arange(views)[None, :, None, None] / views
    arrays = {
        "images": images,
        "depth": depth,
        "intrinsics": np.tile([[40.0, 0, 21], [0, 40, 14], [0, 0, 1]], (scenes, views, 1, 1)),
        "w2c": pose_from(quaternion_to_matrix(quaternion), translation),
    }
    batch = {name: jnp.asarray(value, jnp.float32) for name, value in arrays.items()}
    return batch | {"valid": jnp.ones(shape, bool), "detailed": jnp.arange(scenes) % 2 == 0}


split = jax.jit(split_batch, static_argnames=("views", "targets"))


def test_batch_is_split_alike_in_all_its_arrays() -> None:
    whole = drawn(scenes=4)
    batch = split(jax.random.key(1), whole, views=3, targets=3)
    assert batch.keys() == {*POSED_VIEWS, *(f"target_{n}" for n in POSED_VIEWS), "detailed"}
    np.testing.assert_array_equal(batch["detailed"], whole["detailed"])
    chosen = {
        p: np.rint(5 * np.asarray(batch[f"{p}images"])[..., 0, 0, 0]) for p in ("", "target_")
    }
    for prefix, index in chosen.items():
        assert index.shape == (4, 3)
        assert (index == index[0]).all()  # a microbatch shares its split
        for name in POSED_VIEWS:
            array = np.asarray(whole[name])
            expected = np.stack([array[i, index[i].astype(int)] for i in range(4)])
            np.testing.assert_array_equal(batch[prefix + name], expected)
    others = {
        np.asarray(
            split(jax.random.key(seed), whole, views=3, targets=3)["target_images"]
        ).tobytes()
        for seed in range(2, 8)
    }
    assert len(others) > 1


def test_batches_without_targets_stay_as_they_are() -> None:
    whole = drawn()
    assert split_batch(jax.random.key(1), whole, views=5, targets=0) == whole


def test_rays_do_not_depend_on_the_unit_and_start_in_the_inputs_box() -> None:
    one, other = (
        split(jax.random.key(1), drawn(unit=unit), views=4, targets=2) for unit in (1.0, 7.0)
    )
    rays = jax.jit(query_rays)(one)
    assert rays.shape == (2, 2, 28, 42, 9)
    np.testing.assert_allclose(rays, jax.jit(query_rays)(other), atol=1e-5)
    # Origins by hand: in the first camera's frame, divided by the inputs' largest coordinate.
    first = np.asarray(one["w2c"][:, :1], np.float64)
    centres = [
        invert_pose(np.asarray(one[n], np.float64))[..., :3, 3] for n in ("w2c", "target_w2c")
    ]
    inputs, targets = (
        np.einsum("bnij,bvj->bvi", first[..., :3, :3], c) + first[..., :3, 3] for c in centres
    )
    expected = targets / np.abs(inputs).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(rays[:, :, 3, 5, :3], expected, atol=1e-5)


def test_depth_of_inputs_and_targets_has_one_unit() -> None:
    batch = split(jax.random.key(1), drawn(), views=4, targets=2)
    target, truth = jax.jit(query_targets_from_batch)(batch)
    parts = (batch[name] for name in ("w2c", "intrinsics", "depth", "valid"))
    _, sigma = jax.jit(normalise_target)(*parts)
    unit = np.asarray(sigma)[:, None, None, None]
    np.testing.assert_allclose(target.depth * unit, batch["depth"], rtol=1e-6)
    np.testing.assert_allclose(truth.depth * unit, batch["target_depth"], rtol=1e-6)


MICRO = dataclasses.replace(
    preset("tiny", "state_query"),
    preset="custom",
    embedder=EmbedderConfig(width=32, depth=0, heads=2, image_size=28),
    heads=2,
    camera=CameraHeadConfig(depth=1, heads=2, iterations=1, layer_scale_init=0.5),
    dense=DenseHeadConfig(features=8, out_channels=(8, 8, 16, 16), hidden=8),
)


@functools.cache
def parameters() -> Any:
    state = StateDict(expected_shapes(MICRO), seed=1)
    return jax.tree.map(jnp.asarray, from_torch(state, MICRO))


LOSS = query_scene_loss(ZipMap(MICRO), LossConfig(camera_kind="absolute"))


def test_objective_does_not_depend_on_the_unit_of_the_scene() -> None:
    loss = jax.jit(LOSS)
    (one, parts), (other, _) = (
        loss(parameters(), split(jax.random.key(1), drawn(unit=unit), views=4, targets=2))
        for unit in (1.0, 7.0)
    )
    assert {"loss_nvs_l2", "loss_nvs_psnr", "weighted/nvs_conf_depth"} <= parts.keys()
    assert not any("lpips" in name for name in parts)
    assert np.isfinite(one)
    assert float(other) == pytest.approx(float(one), rel=1e-3)


@pytest.mark.slow
def test_gradient_reaches_every_part_of_the_model() -> None:
    batch = split(jax.random.key(1), drawn(), views=4, targets=2)
    grads, _ = jax.jit(jax.grad(LOSS, has_aux=True))(parameters(), batch)
    for name in ("nvs_head", "ray_embed", "depth_head", "local_point_head", "global_blocks"):
        leaves = jax.tree.leaves(grads[name])
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)
        assert any(bool((leaf != 0).any()) for leaf in leaves), name
