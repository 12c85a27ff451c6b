"""Many calls of one program equal one call with all views of a stream."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.cli.conftest import MICRO
from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.inference.buckets import Bucket, bucket_of, fill
from zipmap_jax.inference.compile import compiled_update, forget_programs
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.reconstruct import predict, predict_scenes
from zipmap_jax.inference.stream_program import StreamProgram, bucket_of_call
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.structs import Prediction, Views

SIZE = (28, 42)
STREAMING = dataclasses.replace(
    MICRO, variant="streaming", window=1, camera=dataclasses.replace(MICRO.camera, kind="mlp")
)
# Its camera head attends to all views, so one call takes all of them.
COMPARING = dataclasses.replace(STREAMING, camera=MICRO.camera)
MARKING = dataclasses.replace(STREAMING, affine_invariant=False)
WINDOWS = dataclasses.replace(STREAMING, window=3)
IMAGES = np.random.default_rng(0).integers(0, 256, (7, *SIZE, 3), np.uint8)


@functools.cache
def loaded(config: ZipMapConfig) -> LoadedModel:
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(ZipMap(config).init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), x.dtype), shapes)
    return LoadedModel(ZipMap(config), params, {})


@functools.cache
def update(config: ZipMapConfig) -> Any:
    model = ZipMap(config)
    return jax.jit(lambda p, views: model.update(p, model.init_state(p), views, chunk=2)[1])


def check(actual: Prediction, config: ZipMapConfig, images: np.ndarray) -> None:
    """Compares with one call over all views of a scene, two of them at a time."""
    desired = update(config)(
        loaded(config).params, Views(jnp.asarray(images[None], jnp.float32) / 255)
    )
    for name in ("depth", "depth_conf", "w2c", "intrinsics"):
        a, b = getattr(actual, name), getattr(desired, name)
        assert isinstance(a, np.ndarray)
        assert a.shape == b.shape
        scale = np.abs(b[np.isfinite(b)]).max()  # random cameras may have no field of view
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize(
    ("config", "chunk", "calls"),
    [
        (STREAMING, 2, 4),
        (STREAMING, 3, 3),
        (STREAMING, None, 1),
        pytest.param(WINDOWS, 3, 3, marks=pytest.mark.slow),
        pytest.param(COMPARING, 2, 1, marks=pytest.mark.slow),
        pytest.param(MARKING, 2, 1, marks=pytest.mark.slow),
    ],
    ids=["by two", "by three", "at once", "windows", "cameras compared", "first view marked"],
)
def test_result_equals_that_of_one_update(
    config: ZipMapConfig, chunk: int | None, calls: int
) -> None:
    calls_made, programs = [], []
    actual = predict(
        loaded(config),
        IMAGES,
        ComputeOptions(chunk),
        progress=lambda *call: calls_made.append(call),
        on_program=programs.append,
    )
    check(actual, config, IMAGES)
    assert isinstance(programs[0].run, StreamProgram)
    running = [call for call in calls_made if call[0] == "running"]
    assert running == [("running", i, calls) for i in range(calls + 1)]


def test_scenes_of_a_batch_are_independent() -> None:
    bucket = Bucket(8, *SIZE, scenes=3, chunk=2)
    scenes = [IMAGES, 1 - IMAGES]
    predictions = predict_scenes(loaded(STREAMING), scenes, bucket, "none")
    for actual, images in zip(predictions, scenes, strict=True):
        check(actual, STREAMING, images)


def test_streams_of_any_length_use_one_program() -> None:
    count = [0]

    def listen(event: str, seconds: float, **details: Any) -> None:
        del seconds, details
        count[0] += event.endswith("backend_compile_duration")

    model = loaded(STREAMING)
    forget_programs()
    predict(model, IMAGES[:3], ComputeOptions(2))
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        predict(model, IMAGES, ComputeOptions(2))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert count == [0]
    three, seven = (bucket_of(n, SIZE, chunk=2, streams=True) for n in (3, 7))
    assert (three.views, seven.views) == (4, 8)
    runs = [compiled_update(model.model, model.params, bucket) for bucket in (three, seven)]
    assert runs[0].run is runs[1].run
    assert [program.bucket for program in runs] == [three, seven]


def test_device_holds_at_most_two_chunks() -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, *SIZE, 3), np.uint8)
    held = {x.unsafe_buffer_pointer() for x in jax.live_arrays()}
    maxima = {"images": 0, "depth": 0}

    def look(stage: str, done: int, total: int) -> None:
        if stage == "running":
            buffers = {x.unsafe_buffer_pointer(): x.shape for x in jax.live_arrays()}
            new = [shape for place, shape in buffers.items() if place not in held]
            now = {
                "images": sum(s[1] for s in new if s[2:] == (*SIZE, 3)),
                "depth": sum(s[1] for s in new if s[2:] == SIZE),
            }
            maxima.update({name: max(maxima[name], number) for name, number in now.items()})

    predict(loaded(STREAMING), images, ComputeOptions(2), progress=look)
    assert maxima["images"] <= 4  # those of a running call are not listed
    assert 0 < maxima["depth"] <= 2 * 4  # and its confidence


def test_steps_restore_the_initial_norms() -> None:
    """The norms of a step's own state would shrink by 1e-5 per call."""
    model = loaded(STREAMING)
    run: Any = compiled_update(model.model, model.params, Bucket(8, *SIZE, chunk=2)).run
    begin = state = run.start(model.params)
    before = [np.linalg.norm(w, axis=-2) for w in begin.weights]
    for _ in range(6):
        views = Views(IMAGES[None, :2], np.ones((1, 2), bool))  # type: ignore[arg-type]
        state, _ = run.take.run(model.params, state, views)
    for norm, w in zip(before, state.weights, strict=True):
        assert np.median(np.abs(np.linalg.norm(w, axis=-2) / norm - 1)) < 1.5e-5


def test_single_steps_equal_the_whole_stream() -> None:
    model = loaded(STREAMING)
    images, valid = fill([IMAGES], Bucket(7, *SIZE))
    program = compiled_update(model.model, model.params, Bucket(8, *SIZE, chunk=3)).run
    assert isinstance(program, StreamProgram)
    whole = program(model.params, Views(images, valid), lambda done, total: None)  # type: ignore[arg-type]
    state = program.init(model.params)
    for begin in range(0, 7, 2):  # fewer than the program's 3
        before = state
        span = slice(begin, begin + 2)
        state, prediction = program.step(state, Views(images[:, span]))  # type: ignore[arg-type]
        assert prediction.depth.shape == (1, 3, *SIZE)
        count = min(2, 7 - begin)
        for name in ("depth", "depth_conf", "w2c", "intrinsics"):
            a, b = getattr(prediction, name)[:, :count], getattr(whole, name)[:, span]
            largest = np.abs(b[np.isfinite(b)]).max()  # random weights give impossible cameras
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * largest)
        assert all(x.is_deleted() for x in jax.tree.leaves(before.scene))
    assert all(not x.is_deleted() for x in jax.tree.leaves(state.params))


def test_views_of_a_call() -> None:
    bucket = Bucket(24, *SIZE, chunk=8)
    assert bucket_of_call(ZipMap(STREAMING), bucket) == Bucket(8, *SIZE)
    assert bucket_of_call(ZipMap(WINDOWS), bucket) == Bucket(6, *SIZE)
    assert bucket_of_call(ZipMap(WINDOWS), Bucket(24, *SIZE, chunk=2)) == Bucket(3, *SIZE, chunk=2)
    assert bucket_of_call(ZipMap(STREAMING), Bucket(5, *SIZE)) == Bucket(5, *SIZE)
    for config in (MICRO, COMPARING, MARKING):
        assert bucket_of_call(ZipMap(config), bucket) == bucket


def test_streams_are_independent_and_their_last_call_is_padded() -> None:
    model = loaded(STREAMING)
    bucket = Bucket(8, *SIZE, chunk=4)
    images, valid = fill([IMAGES[:6]], bucket)
    run = compiled_update(model.model, model.params, bucket).run
    first = run(model.params, Views(images, valid), lambda done, total: None)  # type: ignore[arg-type]
    again = run(model.params, Views(images, valid), lambda done, total: None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(first.depth, again.depth)
    short = run(model.params, Views(images[:, :6], valid[:, :6]), lambda done, total: None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(first.depth[:, :6], short.depth)
