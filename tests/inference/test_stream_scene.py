"""A stream is read, predicted and assembled chunk by chunk, with the result of one call."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest
from PIL import Image

from tests.inference.test_stream_program import STREAMING, loaded
from zipmap_jax.images import frames
from zipmap_jax.images.frames import AHEAD
from zipmap_jax.inference import reconstruct as module
from zipmap_jax.inference.reconstruct import reconstruct
from zipmap_jax.inference.scene_plan import ScenePlan

VIEWS, CHUNK = 30, 4
pytestmark = pytest.mark.filterwarnings("ignore:the model predicted an impossible")
"""The weights are random."""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(VIEWS):
        size = (30, 42) if i % 3 else (42, 42)
        image = Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8))
        image.save(tmp_path / "photos" / f"{i:02d}.png")
    return tmp_path / "photos"


@pytest.fixture
def alive(monkeypatch):
    """Number of decoded frames in memory, now and at most."""
    count, lock, read = {"now": 0, "max": 0}, threading.Lock(), frames.decode.read_image

    def drop():
        with lock:
            count["now"] -= 1

    def read_image(*args):
        frame = read(*args)
        weakref.finalize(frame.image, drop)
        with lock:
            count["now"] += 1
            count["max"] = max(count.values())
        return frame

    monkeypatch.setattr(frames.decode, "read_image", read_image)
    return count


def run(folder, tmp_path, **options):
    options = {"size": 42, "chunk": CHUNK, "scratch": tmp_path} | options
    return reconstruct(loaded(STREAMING), folder, **options)


def test_frames_in_memory_are_bounded(folder, tmp_path, alive, monkeypatch):
    monkeypatch.setattr(module, "results_in_memory", lambda free: 0)
    scene = run(folder, tmp_path)
    assert len(scene) == VIEWS
    assert 0 < alive["max"] <= AHEAD + 2 < VIEWS
    assert alive["now"] == 0


def test_result_equals_that_of_all_views_at_once(folder, tmp_path, monkeypatch):
    stages = []
    scene = run(folder, tmp_path, progress=lambda *call: stages.append(call))
    calls = -(-VIEWS // CHUNK)
    running = [call for call in stages if call[0] == "running"]
    assert running == [("running", i, calls) for i in range(calls + 1)]
    assert [call for call in stages if call[0] == "reading"][-1] == ("reading", VIEWS, VIEWS)
    assert not [call for call in stages if call[0] == "assembling"]

    monkeypatch.setattr(ScenePlan, "several_calls", property(lambda self: False))
    whole = run(folder, tmp_path)
    assert whole.names == scene.names
    np.testing.assert_array_equal(whole.w2c, scene.w2c)
    np.testing.assert_array_equal(whole.intrinsics, scene.intrinsics)
    assert whole.network_size == scene.network_size == (42, 42)
    for name in ("depth", "confidence", "images"):
        for one, other in zip(getattr(whole, name), getattr(scene, name), strict=True):
            np.testing.assert_array_equal(one, other)


def test_unreadable_image_is_left_out(folder, tmp_path):
    path = folder / "07.png"
    path.write_bytes(path.read_bytes()[:1500])
    stages = []
    with pytest.warns(UserWarning, match=r"left out: .*07\.png"):
        scene = run(folder, tmp_path, progress=lambda *call: stages.append(call))
    assert len(scene) == VIEWS - 1
    assert "07.png" not in scene.names
    assert len(scene.depth) == len(scene.images) == len(scene.w2c) == VIEWS - 1
    assert [call for call in stages if call[0] == "running"][-1] == ("running", 8, 8)
    with pytest.raises(ValueError, match=r"07\.png"):
        run(folder, tmp_path, strict=True)


def test_files_are_removed_with_the_scene(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "results_in_memory", lambda free: 40_000)
    scene = run(folder, tmp_path)
    (scratch,) = tmp_path.glob(".zipmap-*")
    assert len(list(scratch.iterdir())) > 2 * VIEWS
    assert isinstance(scene.depth[0], np.ndarray)
    del scene
    assert not list(tmp_path.glob(".zipmap-*"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, TypeError])
def test_files_are_removed_after_an_error(folder, tmp_path, monkeypatch, error):
    monkeypatch.setattr(module, "results_in_memory", lambda free: 0)

    def report(stage, done, total):
        if (stage, done) == ("running", 2):
            assert list(tmp_path.glob(".zipmap-*"))
            raise error

    before = threading.active_count()
    with pytest.raises(error):
        run(folder, tmp_path, progress=report)
    assert not list(tmp_path.glob(".zipmap-*"))
    assert threading.active_count() == before
