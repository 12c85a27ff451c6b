"""A reconstruction in three programs equals that of one and needs less memory."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.cli.conftest import MICRO
from tests.echo import echo_model
from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.inference.buckets import Bucket, bucket_of, fill
from zipmap_jax.inference.compile import Program, forget_programs
from zipmap_jax.inference.offline_program import OfflineProgram, phases_of
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.reconstruct import predict, predict_scenes
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.structs import Prediction, Views

SIZE = (28, 42)
OFFLINE = MICRO
REFERENCE_VIEW = dataclasses.replace(MICRO, variant="ref_view", affine_invariant=False)
ATTENTION = dataclasses.replace(MICRO, mixer="attention")
STREAMING = dataclasses.replace(
    MICRO, variant="streaming", window=1, camera=dataclasses.replace(MICRO.camera, kind="mlp")
)
IMAGES = np.random.default_rng(0).integers(0, 256, (7, *SIZE, 3), np.uint8)


@functools.cache
def random_params(config: ZipMapConfig) -> Any:
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(ZipMap(config).init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), x.dtype), shapes)


def loaded(config: ZipMapConfig) -> LoadedModel:
    return LoadedModel(ZipMap(config), random_params(config), {})


@functools.cache
def whole(config: ZipMapConfig, views: int, chunk: int | None) -> Any:
    """`update` of one scene, compiled."""
    model = ZipMap(config)

    def update(params: Any, views: Views) -> Prediction:
        return model.update(params, model.init_state(params), views, chunk=chunk)[1]

    images: Any = jax.ShapeDtypeStruct((1, views, *SIZE, 3), jnp.float32)
    valid: Any = jax.ShapeDtypeStruct((1, views), jnp.bool_)
    return jax.jit(update).lower(random_params(config), Views(images, valid)).compile()


def expected(config: ZipMapConfig, images: np.ndarray, bucket: Bucket) -> Prediction:
    """The result of `update` for one scene, with the padding and the chunks of a bucket."""
    filled, valid = fill([images], dataclasses.replace(bucket, scenes=1))
    views = Views(filled.astype(np.float32) / 255, valid)  # type: ignore[arg-type]
    return whole(config, bucket.views, bucket.chunk)(random_params(config), views)


def check(actual: Prediction, desired: Prediction, views: int) -> None:
    for name in ("depth", "depth_conf", "w2c", "intrinsics"):
        a, b = getattr(actual, name), getattr(desired, name)[:, :views]
        assert isinstance(a, np.ndarray)
        assert a.shape == b.shape
        scale = np.abs(b[np.isfinite(b)]).max()  # random cameras may have no field of view
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize(
    ("config", "chunk"),
    [(OFFLINE, 2), (OFFLINE, None), (ATTENTION, 3), (REFERENCE_VIEW, 2)],
    ids=["chunks", "one chunk", "attention", "reference view"],
)
def test_result_equals_that_of_one_program(config: ZipMapConfig, chunk: int | None) -> None:
    """Seven views are padded to eight or nine."""
    bucket = bucket_of(7, SIZE, chunk=chunk)
    assert bucket.views > 7
    actual = predict(loaded(config), IMAGES, ComputeOptions(chunk))
    check(actual, expected(config, IMAGES, bucket), 7)


def test_scenes_of_a_batch_are_independent() -> None:
    bucket = Bucket(8, *SIZE, scenes=3, chunk=2)
    scenes = [IMAGES, 1 - IMAGES[:5]]
    predictions = predict_scenes(loaded(OFFLINE), scenes, bucket, "none")
    for actual, images in zip(predictions, scenes, strict=True):
        check(actual, expected(OFFLINE, images, bucket), len(images))


def test_scenes_and_chunks_over_two_devices() -> None:
    """Each device has two chunks."""
    bucket = Bucket(8, *SIZE, scenes=2, chunk=2, devices=2)
    scenes = [IMAGES, 1 - IMAGES[:5]]
    predictions = predict_scenes(loaded(OFFLINE), scenes, bucket, "none")
    for actual, images in zip(predictions, scenes, strict=True):
        alone = expected(OFFLINE, images, dataclasses.replace(bucket, devices=1))
        for a, b in ((actual.depth, alone.depth), (actual.depth_conf, alone.depth_conf)):
            b = b[:, : len(images)]
            # The gradients are summed in another order.
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())
        np.testing.assert_allclose(actual.w2c, alone.w2c[:, : len(images)], rtol=0, atol=2e-5)
        distances = np.linalg.norm(np.diff(actual.w2c[0, :, :3, 3], axis=0), axis=1)
        assert distances.min() > 1e-3, "views have cameras of their own"


def compiled_during(views: int) -> int:
    """Number of programs that are compiled for these views, two at a time."""
    count, images = [0], np.zeros((views, 8, 8, 3), np.uint8)

    def listen(event: str, seconds: float, **details: Any) -> None:
        del seconds, details
        count[0] += event.endswith("backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        forget_programs()
        predict(echo_model(), images, ComputeOptions(2))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return count[0]


def test_all_chunks_use_the_same_programs() -> None:
    two_chunks, four_chunks = compiled_during(4), compiled_during(8)
    assert 3 <= two_chunks == four_chunks


def test_decode_selects_the_chunk_by_its_index() -> None:
    bucket = Bucket(6, *SIZE, chunk=2)
    phase = phases_of(ZipMap(OFFLINE), random_params(OFFLINE), bucket)["decode"]
    taps, index = phase.arguments
    assert (taps.shape[0], index.shape) == (3, ())
    decode = phase.compile(random_params(OFFLINE)).run
    assert decode.memory_analysis().output_size_in_bytes < 1.1 * 2 * 2 * 28 * 42 * 4
    values = np.random.default_rng(1).random(taps.shape, np.float32)
    outputs = [decode(random_params(OFFLINE), values, np.int32(i)) for i in (0, 1)]
    again = decode(random_params(OFFLINE), values[::-1].copy(), np.int32(2))
    for first, second, same in zip(*outputs, again, strict=True):
        assert first.shape == (1, 1, 2, *SIZE)
        assert np.abs(first - second).max() > 1e-3
        np.testing.assert_array_equal(first, same)


def test_progress_reports_every_chunk() -> None:
    """Chunks are encoded and decoded one by one and mixed together."""
    calls = []
    predict(
        echo_model(),
        np.zeros((6, 8, 8, 3), np.uint8),
        ComputeOptions(2),
        rounded=False,
        progress=lambda *call: calls.append(call),
    )
    running = [(done, total) for stage, done, total in calls if stage == "running"]
    assert running == [(done, 9) for done in (0, 1, 2, 3, 6, 7, 8, 9)]


def test_device_holds_at_most_two_chunks_of_images_and_predictions() -> None:
    """The tokens of all eight chunks are released before the first one is decoded."""
    views, samples = 16, []
    images = np.random.default_rng(0).integers(0, 256, (views, *SIZE, 3), np.uint8)
    programs: list[Program] = []
    held = {x.unsafe_buffer_pointer() for x in jax.live_arrays()}

    def look(stage: str, done: int, total: int) -> None:
        if stage == "running":
            # Arrays that are being copied to the host are listed twice.
            buffers = {x.unsafe_buffer_pointer(): x.shape for x in jax.live_arrays()}
            new = [shape for place, shape in buffers.items() if place not in held]
            of_images = sum(s[-4] for s in new if s[-3:] == (*SIZE, 3))
            of_depth = sum(s[-3] for s in new if s[-2:] == SIZE)
            of_tokens = sum(s[0] for s in new if len(s) == 5 and s[-1] == OFFLINE.width)
            samples.append((done / total, of_images, of_depth, of_tokens))

    predict(loaded(OFFLINE), images, ComputeOptions(2), progress=look, on_program=programs.append)
    assert 0 < max(of_images for _, of_images, _, _ in samples) <= 4
    assert max(of_depth for _, _, of_depth, _ in samples) == 2 * 4  # and its confidence
    assert {of_tokens for share, _, _, of_tokens in samples if 0 < share < 1 / 3} == {8}
    assert {of_tokens for share, _, _, of_tokens in samples if share > 2 / 3} == {0}
    assert isinstance(programs[0].run, OfflineProgram)


def test_streaming_model_has_no_phases() -> None:
    model = ZipMap(STREAMING)
    params = random_params(model.config)
    with pytest.raises(ValueError, match="this streaming model has windows of 1: use update"):
        phases_of(model, params, Bucket(2, *SIZE))
