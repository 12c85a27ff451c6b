"""LPIPS against a NumPy implementation, with random weights of few channels."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.losses.recorded import arrays
from tests.quick import FUSED
from zipmap_jax.convert.perceptual import rules
from zipmap_jax.convert.rules import nest, our_shapes
from zipmap_jax.losses import LossConfig, colour_note, perceptual_loss, total_loss
from zipmap_jax.losses.perceptual import CHUNK, DEPTHS
from zipmap_jax.parity.losses import recorded_prediction, recorded_query, recorded_target

FEW = (4, 6, 8, 5, 3)


def parameters(widths: tuple[int, ...] = FEW) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    vgg, channels = {}, 3
    for stage, (depth, width) in enumerate(zip(DEPTHS, widths, strict=True)):
        for j in range(depth):
            kernel = rng.normal(size=(3, 3, channels, width)) / np.sqrt(4.5 * channels)
            vgg[f"stage{stage}_conv{j}"] = {"kernel": kernel, "bias": 0.1 * rng.normal(size=width)}
            channels = width
    linear = {f"stage{i}": {"kernel": rng.random((1, 1, w, 1))} for i, w in enumerate(widths)}
    tree = {"vgg": vgg, "linear": linear}
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def pictures(*shape: int, seed: int = 1) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).random((*shape, 3)), jnp.float32)


def numpy_features(params: Any, image: np.ndarray) -> list[np.ndarray]:
    """Convolutions as sums of shifted products, maxima of 2 x 2 blocks, unit length."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x, out = (2 * image - 1 - shift) / scale, []
    for stage, depth in enumerate(DEPTHS):
        if stage:
            h, w = x.shape[0] // 2, x.shape[1] // 2
            x = x[: 2 * h, : 2 * w].reshape(h, 2, w, 2, -1).max(axis=(1, 3))
        for j in range(depth):
            layer = params["vgg"][f"stage{stage}_conv{j}"]
            padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
            h, w = x.shape[:2]
            x = sum(
                padded[a : a + h, b : b + w] @ np.asarray(layer["kernel"][a, b], np.float64)
                for a in range(3)
                for b in range(3)
            ) + np.asarray(layer["bias"])
            x = np.maximum(x, 0)
        out.append(x / (np.sqrt((x * x).sum(-1, keepdims=True)) + 1e-10))
    return out


def numpy_distance(params: Any, a: np.ndarray, b: np.ndarray) -> float:
    pairs = zip(numpy_features(params, a), numpy_features(params, b), strict=True)
    weights = [np.asarray(params["linear"][f"stage{i}"]["kernel"]).ravel() for i in range(5)]
    return sum(float((((y - z) ** 2) @ w).mean()) for (y, z), w in zip(pairs, weights, strict=True))


exact = jax.jit(functools.partial(perceptual_loss, dtype=jnp.float32))


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (2, CHUNK - 1, 19, 34)])
def test_is_the_published_distance(shape: tuple[int, ...]) -> None:
    params = parameters()
    rgb, images = pictures(*shape), pictures(*shape, seed=2)
    flat = (np.asarray(x, np.float64).reshape(-1, *shape[-2:], 3) for x in (rgb, images))
    expected = np.mean([numpy_distance(params, a, b) for a, b in zip(*flat, strict=True)])
    assert expected > 0.1
    assert float(exact(params, rgb, images)) == pytest.approx(expected, rel=1e-5)
    # Published numbers are of bfloat16 convolutions, which have 8 bits.
    half = jax.jit(perceptual_loss)(params, rgb, images)
    assert half.dtype == jnp.float32
    assert float(half) == pytest.approx(expected, rel=0.05)


def test_gradient() -> None:
    params, a, b = parameters(), pictures(1, 2, 16, 16), pictures(1, 2, 16, 16, seed=2)
    loss = functools.partial(perceptual_loss, dtype=jnp.float32)
    gradient = jax.jit(jax.grad(loss, argnums=1), compiler_options=FUSED)
    np.testing.assert_array_equal(gradient(params, a, a), 0)
    grad = gradient(params, a, b)
    assert bool(jnp.isfinite(grad).all())
    # Differences of the float64 oracle, whose step is too small to cross kinks of ReLU and pooling.
    x, y, way = (np.asarray(v[0, 0], np.float64) for v in (a, b, pictures(1, 1, 16, 16, seed=3)))
    ends = [numpy_distance(params, x + step * (way - 0.5), y) for step in (1e-7, -1e-7)]
    slope = (ends[0] - ends[1]) / 2e-7 / 2  # the loss is the mean of two images
    assert float(jnp.sum(grad[0, 0] * (way - 0.5))) == pytest.approx(slope, rel=1e-3)


def test_pixels_without_any_feature_have_finite_gradients() -> None:
    params = parameters()
    dead = jax.tree_util.tree_map_with_path(
        lambda path, x: x - 100.0 if "bias" in jax.tree_util.keystr(path) else x, params
    )
    gradient = jax.jit(jax.grad(perceptual_loss, argnums=1))
    grad = gradient(dead, pictures(1, 1, 16, 16), pictures(1, 1, 16, 16, seed=2))
    np.testing.assert_array_equal(grad, 0)


def test_full_size() -> None:
    shapes = our_shapes(rules())
    params = nest({n: jax.ShapeDtypeStruct(s, jnp.float32) for n, s in shapes.items()})
    images = jax.ShapeDtypeStruct((2, 11, 518, 392, 3), jnp.float32)
    value, gradient = jax.eval_shape(
        jax.value_and_grad(perceptual_loss, argnums=1), params, images, images
    )
    assert value.shape == ()
    assert gradient.shape == images.shape


def test_small_images() -> None:
    with pytest.raises(ValueError, match="at least 16x16 pixels, got 14x28"):
        perceptual_loss(parameters(), pictures(1, 14, 28), pictures(1, 14, 28))


def test_note() -> None:
    assert "L2 only, without the published 0.5 LPIPS" in colour_note(LossConfig())
    assert "zipmap convert" in colour_note(LossConfig())
    assert colour_note(LossConfig(perceptual=0)) == "colour loss: L2 only, as loss.perceptual is 0"
    config = LossConfig(perceptual_weights="weights/lpips")
    assert colour_note(config) == "colour loss: L2 + 0.5 LPIPS of weights/lpips"


def test_objective_with_the_perceptual_term() -> None:
    z = arrays("loss_plain")
    query, config = recorded_query(z), LossConfig(camera_kind="absolute")

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def loss(params: Any) -> Any:
        prediction, target = recorded_prediction(z), recorded_target(z)
        return total_loss(prediction, target, config, query, params)

    objective, parts = loss(parameters())
    rendered, truth = query
    assert rendered.rgb is not None
    distance = float(jax.jit(perceptual_loss)(parameters(), rendered.rgb, truth.images))
    assert distance > 0.01
    assert float(parts["loss_nvs_lpips"]) == pytest.approx(distance, rel=1e-2)  # bfloat16
    assert float(parts["weighted/nvs_lpips"]) == pytest.approx(5 * distance, rel=1e-2)
    rgb = float(parts["loss_nvs_l2"]) + 0.5 * float(parts["loss_nvs_lpips"])
    assert float(parts["loss_nvs_rgb"]) == pytest.approx(rgb, rel=1e-6)
    # The recorded objective is the one without it.
    rest = float(objective) - float(parts["weighted/nvs_lpips"])
    assert rest == pytest.approx(float(z["nvs.loss.loss_objective"]), rel=1e-4)
