"""One scene over eight simulated devices: results, memory and traffic."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import jax
import numpy as np
import pytest

from pallas_kernels.newton_schulz import update
from tests.models.conftest import micro, random_params
from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.inference.buckets import Bucket, bucket_of
from zipmap_jax.inference.compile import compiled_update, forget_programs
from zipmap_jax.inference.devices import check_devices
from zipmap_jax.inference.memory import estimate_memory, workload_of
from zipmap_jax.inference.offline_program import OfflineProgram, phases_of
from zipmap_jax.inference.options import ComputeOptions
from zipmap_jax.inference.reconstruct import predict
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.models.zipmap import ZipMap

CONFIG = micro("offline")
DEVICES = 8
BUCKET = Bucket(64, 28, 42, chunk=2, devices=DEVICES)
OTHERS = ("all-to-all", "collective-permute", "reduce-scatter")
WORDS = {"f32": 4, "s32": 4, "pred": 1}


@pytest.fixture(scope="module")
def program() -> OfflineProgram:
    run = compiled_update(ZipMap(CONFIG), random_params(CONFIG), BUCKET).run
    assert isinstance(run, OfflineProgram)
    return run


def received(text: str, operation: str) -> list[int]:
    """Bytes of the results of all operations of one kind in a compiled program."""
    out = []
    for result in re.findall(rf"= (.+?) {operation}(?:-start)?\(", text):
        shapes = re.findall(r"(\w+)\[([\d,]*)\]", result)
        out.append(
            sum(WORDS[kind] * math.prod(map(int, s.split(",") if s else [])) for kind, s in shapes)
        )
    return out


def test_eight_devices_equal_one() -> None:
    model = LoadedModel(ZipMap(CONFIG), random_params(CONFIG), {})
    images = np.random.default_rng(0).integers(0, 256, (11, 28, 42, 3), np.uint8)
    alone, shared = (
        predict(model, images, ComputeOptions(devices=n), rounded=False) for n in (1, DEVICES)
    )
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(shared), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max())


def test_devices_that_share_newton_schulz_equal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of three devices normalises one matrix of a layer, and all gather the three."""
    monkeypatch.setattr(update, "sharing_pays", lambda shape, devices, steps: True)
    forget_programs()
    model = LoadedModel(ZipMap(CONFIG), random_params(CONFIG), {})
    images = np.random.default_rng(0).integers(0, 256, (11, 28, 42, 3), np.uint8)
    alone, shared = (
        predict(model, images, ComputeOptions(devices=n), rounded=False) for n in (1, DEVICES)
    )
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(shared), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max())
    bucket = dataclasses.replace(BUCKET, views=16)
    run = compiled_update(ZipMap(CONFIG), random_params(CONFIG), bucket).run
    assert isinstance(run, OfflineProgram)
    matrix = CONFIG.fast.hidden_multiple * CONFIG.width**2 * 4
    assert received(run.mix.run.as_text(), "all-gather").count(DEVICES * matrix) == 1
    forget_programs()


@pytest.mark.parametrize(
    ("phase", "kinds"), [("mix", ("argument", "output")), ("decode", ("argument",))]
)
def test_memory_that_grows_with_the_views_is_divided_by_the_devices(
    program: OfflineProgram, phase: str, kinds: tuple[str, ...]
) -> None:
    """Weights and the temporaries of a chunk are the same on every device."""

    def memory(bucket: Bucket) -> Any:
        whole = phases_of(ZipMap(CONFIG), random_params(CONFIG), bucket)[phase]
        return whole.compile(random_params(CONFIG)).run.memory_analysis()

    half = dataclasses.replace(BUCKET, views=BUCKET.views // 2)
    shared = [memory(half), getattr(program, phase).run.memory_analysis()]
    alone = [memory(dataclasses.replace(b, devices=1)) for b in (half, BUCKET)]
    for kind in kinds:
        eighth, whole = (
            getattr(b, f"{kind}_size_in_bytes") - getattr(a, f"{kind}_size_in_bytes")
            for a, b in (shared, alone)
        )
        assert 0 < eighth < 1.1 * whole / DEVICES, kind


def test_plan_of_several_devices() -> None:
    """Each device has an eighth of the views; the host holds all of simulated devices."""
    whole = workload_of(ZipMap(CONFIG), random_params(CONFIG), [(28, 42)] * 64, (28, 42), 2)
    shared = dataclasses.replace(whole, devices=DEVICES)
    one, eighth = whole.plan, shared.plan
    for part in ("taps", "tokens"):
        assert getattr(eighth, part) == getattr(one, part) / DEVICES, part
    for part in ("images", "outputs"):  # of two chunks on every device
        assert getattr(eighth, part) == getattr(one, part), part
    estimate = estimate_memory(shared, None, 10**9)
    peak = DEVICES * eighth.total + estimate.host_bytes
    assert f"about {peak / 1e9:.1f} GB" in estimate.text
    assert "free on each of 8 devices" in estimate_memory(shared, 10**9, 10**9).text


def test_traffic_between_devices(program: OfflineProgram) -> None:
    """Each layer all-reduces its three gradients at once; the camera tokens are gathered."""
    text = program.mix.run.as_text()
    width, views = CONFIG.width, BUCKET.views
    gradients = 3 * CONFIG.fast.hidden_multiple * width**2 * 4
    counts = [n for n in received(text, "all-reduce") if n < gradients]
    assert received(text, "all-reduce").count(gradients) == 1
    assert sum(counts) <= 8  # the number of views
    gathered = received(text, "all-gather")
    assert max(gathered) == views * 2 * width * 4
    assert sum(gathered) <= views * 2 * width * 4 + 8 * views
    for other in OTHERS:
        assert not received(text, other)


@pytest.mark.parametrize("phase", ["encode", "decode"])
def test_encode_and_decode_have_no_traffic(program: OfflineProgram, phase: str) -> None:
    text = getattr(program, phase).run.as_text()
    for operation in ("all-reduce", "all-gather", *OTHERS):
        assert not received(text, operation), operation


def test_size_of_the_gradients_of_a_large_layer() -> None:
    """docs/memory-and-speed.md states 25 MB."""
    config = preset("large", "offline")
    assert 3 * config.fast.hidden_multiple * config.width**2 * 4 == 25_165_824


@pytest.mark.parametrize(
    ("views", "chunk", "expected"),
    [(11, None, (16, None)), (11, 1, (16, 1)), (100, 4, (128, 4)), (8, 4, (8, None))],
)
def test_buckets_over_devices(views: int, chunk: int | None, expected: tuple[int, int]) -> None:
    bucket = bucket_of(views, (28, 42), chunk=chunk, devices=DEVICES)
    assert (bucket.views, bucket.chunk, bucket.devices) == (*expected, DEVICES)
    if chunk:
        assert "on each of 8 devices" in bucket.text


@pytest.mark.parametrize(
    ("devices", "config", "message"),
    [
        (
            9,
            CONFIG,
            "cannot be 9, as this machine has 8 cpu devices: choose 1 to 8, .*xla_force_host",
        ),
        (0, CONFIG, "cannot be 0, as"),
        (
            2,
            micro("streaming"),
            "cannot distribute the views of a scene over 2 devices: set devices to 1",
        ),
    ],
)
def test_bad_number_of_devices_is_refused(devices: int, config: ZipMapConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_devices(devices, ZipMap(config))
    check_devices(1, ZipMap(config))
