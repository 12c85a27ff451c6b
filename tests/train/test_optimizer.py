"""Learning rate, decay mask, clipping: the recipe's numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.train.config.schema import OptimConfig
from zipmap_jax.train.optimizer import (
    apply_update,
    clip_gradients,
    decay_mask,
    gradient_norms,
    learning_rate,
    require_matches,
    update_rule,
    without_frozen_gradients,
)
from zipmap_jax.tree import path_name


# Stage 1 of the recipe: 80,000 steps, peak 1e-4, floor 1e-8, 5 % warm-up.
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1e-8),
        (1, 3.49975e-8),
        (2000, 5.0005e-5),
        (4000, 1e-4),
        (42000, 5.0005e-5),
        (79999, 1.0000043e-8),
    ],
)
def test_learning_rate_follows_the_table(step: int, expected: float) -> None:
    rate = learning_rate(step / 80_000, 1e-4, OptimConfig(lr=1e-4))
    # 1e-12 is the rounding error in fp32 of 1e-4 (1 + cos) near cos = -1.
    np.testing.assert_allclose(rate, expected, rtol=2e-6, atol=1e-12)


def test_learning_rate_without_warmup_starts_at_the_peak() -> None:
    config = OptimConfig(lr=1e-3, warmup=0.0)
    assert float(learning_rate(1e-5, 1e-3, config)) == pytest.approx(1e-3)


def flat(tree: object) -> dict[str, object]:
    return {path_name(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.fixture(scope="module")
def tiny_params() -> object:
    return jax.eval_shape(ZipMap(preset("tiny")).init, jax.random.key(0))


def test_decay_mask_counts_axes_per_layer(tiny_params: object) -> None:
    mask = flat(decay_mask(tiny_params))
    decayed = [
        "camera_token",
        "register_token",
        "embedder/cls_token",
        "embedder/pos_embed",
        "embedder/patch_proj/kernel",
        "frame_blocks/attn/qkv/kernel",
        "global_blocks/ttt/w0",
        "global_blocks/ttt/w1",
        "camera_head/empty_pose_tokens",
        "camera_head/trunk/mlp/fc1/kernel",
        "depth_head/projects_0/kernel",
    ]
    kept = [
        "embedder/patch_proj/bias",
        "embedder/norm/scale",
        "frame_blocks/norm1/scale",
        "frame_blocks/ls1/gamma",
        "frame_blocks/attn/qkv/bias",
        "frame_blocks/attn/q_norm/scale",
        "global_blocks/ttt/o_norm/scale",
        "camera_head/trunk/ls1/gamma",
        "camera_head/token_norm/scale",
        "depth_head/output_conv1/bias",
    ]
    assert all(mask[name] for name in decayed)
    assert not any(mask[name] for name in kept)


def test_patterns_exclude_parameters_from_decay(tiny_params: object) -> None:
    undecayed = ("*_token", "*/ttt/w?")
    mask, usual = flat(decay_mask(tiny_params, undecayed)), flat(decay_mask(tiny_params))
    changed = {name for name in mask if mask[name] != usual[name]}
    assert {"camera_token", "global_blocks/ttt/w1"} < changed
    assert "camera_head/empty_pose_tokens" not in changed
    config = OptimConfig(lr=1.0, weight_decay=0.5, undecayed=undecayed)
    params = {"camera_token": jnp.ones((2, 2)), "kernel": jnp.ones((2, 2))}
    rule = update_rule(config)
    still = jax.tree.map(jnp.zeros_like, params)
    direction, _ = rule.update(still, rule.init(params), params)
    np.testing.assert_array_equal(direction["camera_token"], 0)
    np.testing.assert_array_equal(direction["kernel"], 0.5)


def test_no_bias_or_norm_decays_but_every_kernel_does(tiny_params: object) -> None:
    for name, decays in flat(decay_mask(tiny_params)).items():
        last = name.split("/")[-1]
        if last in ("bias", "scale", "gamma"):
            assert not decays, name
        if last == "kernel":
            assert decays, name


def test_clipping_is_by_module() -> None:
    grads = {
        "embedder": {"a": jnp.full((4,), 3.0)},
        "frame_blocks": {"b": jnp.full((4,), 4.0)},
        "depth_head": {"c": jnp.full((4,), 0.1)},
    }
    config = OptimConfig(clip=1.0)
    norms = gradient_norms(grads, config)
    assert set(norms) == {"aggregator", "depth_head"}
    np.testing.assert_allclose(norms["aggregator"], 10.0, rtol=1e-6)
    clipped = clip_gradients(grads, norms, config)
    np.testing.assert_allclose(clipped["embedder"]["a"], 0.3, rtol=1e-6)
    np.testing.assert_allclose(clipped["depth_head"]["c"], 0.1, rtol=1e-6)


def test_clipping_by_one_global_norm() -> None:
    grads = {"embedder": {"a": jnp.full((1,), 3.0)}, "depth_head": {"c": jnp.full((1,), 4.0)}}
    config = OptimConfig(clip=1.0, clip_by="global")
    norms = gradient_norms(grads, config)
    clipped = clip_gradients(grads, norms, config)
    np.testing.assert_allclose(clipped["depth_head"]["c"], 0.8, rtol=1e-6)


def test_adamw_step_is_the_textbook_one() -> None:
    config = OptimConfig(lr=1e-2, lr_floor=0.0, warmup=0.0, weight_decay=0.1)
    params = {"w": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0, 4.0])}
    grads = {"w": jnp.array([[0.5, 0.25]]), "bias": jnp.array([-1.0, 2.0])}
    transform = update_rule(config)
    direction, _ = transform.update(grads, transform.init(params), params)
    new = apply_update(params, direction, jnp.asarray(0.0), config)
    # The first Adam step is g / (|g| + eps); only the matrix decays.
    np.testing.assert_allclose(new["w"], [[1.0 - 1e-2 * 1.1, -2.0 - 1e-2 * 0.8]], rtol=1e-6)
    np.testing.assert_allclose(new["bias"], [3.01, 3.99], rtol=1e-6)


def test_groups_and_frozen_parameters() -> None:
    config = OptimConfig(
        lr=1e-3,
        lr_floor=0.0,
        warmup=0.0,
        lr_groups=(("global_blocks/ttt/*", 1e-2),),
        frozen=("embedder/mask_token",),
    )
    params = {
        "embedder": {"mask_token": jnp.ones((2,)), "other": jnp.ones((2,))},
        "global_blocks": {"ttt": {"w0": jnp.ones((2,))}},
    }
    direction = jax.tree.map(jnp.ones_like, params)
    new = apply_update(params, direction, jnp.asarray(0.0), config)
    np.testing.assert_array_equal(new["embedder"]["mask_token"], 1.0)
    np.testing.assert_allclose(new["embedder"]["other"], 1 - 1e-3, rtol=1e-6)
    np.testing.assert_allclose(new["global_blocks"]["ttt"]["w0"], 1 - 1e-2, rtol=1e-6)


def test_muon_moves_all_directions_of_its_matrices_alike() -> None:
    """Muon's update of a gradient with one strong direction has none; other leaves use Adam."""
    rng = np.random.default_rng(0)
    strong = 100 * rng.normal(size=(2, 8, 1)) @ rng.normal(size=(2, 1, 16))
    kernel = jnp.asarray(strong + rng.normal(size=(2, 8, 16)), jnp.float32)
    conv = jnp.asarray(rng.normal(size=(3, 3, 2, 24)), jnp.float32)
    grads = {"blocks": {"kernel": kernel, "bias": kernel[:, 0]}, "conv": {"kernel": conv}}
    params = jax.tree.map(jnp.ones_like, grads)
    plain = OptimConfig(weight_decay=0.0)
    config = dataclasses.replace(plain, muon=("*/kernel",))

    def first_update(config: OptimConfig) -> Any:
        rule = update_rule(config)
        return rule.update(grads, rule.init(params), params)[0]

    update, adam = first_update(config), first_update(plain)
    np.testing.assert_allclose(update["blocks"]["bias"], adam["blocks"]["bias"], rtol=1e-5)
    matrices = [*update["blocks"]["kernel"], update["conv"]["kernel"].reshape(18, 24)]
    for matrix in matrices:
        singular = np.linalg.svd(matrix, compute_uv=False)
        assert singular.min() > 0.5 * singular.max()
        assert np.sqrt(np.mean(np.square(matrix))) == pytest.approx(0.2, rel=0.2)
    # Adam follows the strong direction alone.
    singular = np.linalg.svd(adam["blocks"]["kernel"][0], compute_uv=False)
    assert singular[1] < 0.3 * singular[0]


def test_frozen_gradients_do_not_count() -> None:
    grads = {"embedder": {"a": jnp.array([3.0]), "b": jnp.array([4.0])}}
    config = OptimConfig(frozen=("embedder/b",))
    assert float(gradient_norms(grads, config)["aggregator"]) == pytest.approx(3.0)
    assert float(gradient_norms(grads, OptimConfig())["aggregator"]) == pytest.approx(5.0)


def test_frozen_parameters_have_neither_moments_nor_gradients() -> None:
    config = OptimConfig(frozen=("embedder/*",), muon=("*/w",))
    params = {"embedder": {"w": jnp.ones((4, 4))}, "depth_head": {"w": jnp.ones((4, 4))}}
    moments = jax.tree.leaves(update_rule(config).init(params))
    assert [leaf.shape for leaf in moments if leaf.ndim > 1] == [(4, 4)]

    def loss(params: Any, x: jax.Array) -> jax.Array:
        params = without_frozen_gradients(params, config)
        return jnp.sum(x @ params["embedder"]["w"] @ params["depth_head"]["w"])

    lowered = jax.jit(jax.grad(loss)).lower(params, jnp.ones((2, 4)))
    assert lowered.as_text().count("dot_general") == 2  # forward, and one gradient
    grads = lowered.compile()(params, jnp.ones((2, 4)))
    assert not grads["embedder"]["w"].any()
    assert grads["depth_head"]["w"].all()


def test_a_module_may_be_frozen_whole() -> None:
    grads = {"embedder": {"a": jnp.full(4, 3.0)}, "depth_head": {"b": jnp.full(4, 3.0)}}
    config = OptimConfig(frozen=("embedder/*",))
    clipped = clip_gradients(grads, gradient_norms(grads, config), config)
    np.testing.assert_array_equal(clipped["embedder"]["a"], grads["embedder"]["a"])
    assert float(jnp.linalg.norm(clipped["depth_head"]["b"])) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"lr_groups": (("*ttt_block*", 1e-4),)},
            r"optim.lr_groups contains '\*ttt_block\*', which no",
        ),
        ({"frozen": ("embeder/*",)}, "optim.frozen contains"),
        ({"muon": ("*matrix",)}, "optim.muon contains"),
        ({"clip_modules": (("depth_heed", 0.1),)}, "contains depth_heed: choose from aggregator"),
        ({"clip_modules": (("depth_head", 0.1),), "clip_by": "global"}, "needs optim.clip_by"),
    ],
)
def test_patterns_must_name_something(changes: dict[str, Any], message: str) -> None:
    params = {"embedder": {"kernel": jnp.ones((2, 2))}, "depth_head": {"bias": jnp.ones(2)}}
    require_matches(params, OptimConfig(frozen=("embedder/*",), lr_groups=(("depth_head/*", 1.0),)))
    config = dataclasses.replace(OptimConfig(frozen=()), **changes)
    with pytest.raises(ValueError, match=message):
        require_matches(params, config)
