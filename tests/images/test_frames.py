"""Frames arrive in order, are decoded ahead, and few are in memory at a time."""

from __future__ import annotations

import dataclasses
import threading
import time
import warnings
import weakref

import numpy as np
import pytest
from PIL import Image

from zipmap_jax.images import frames as module
from zipmap_jax.images.decode import Frame
from zipmap_jax.images.frames import AHEAD, FrameReader, network_frames
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.preparation import CropOrPad
from zipmap_jax.images.sources import list_sources, probe_sizes

PREPARATION, OPTIONS = CropOrPad(4), ReadOptions(size=32)


@pytest.fixture
def folder(tmp_path):
    for i in range(40):
        Image.new("RGB", (40, 32), (i,) * 3).save(tmp_path / f"{i:02d}.png")
    return tmp_path


class Alive:
    """Counts the frames that are referenced anywhere."""

    def __init__(self) -> None:
        self.now = self.max = 0
        self.lock = threading.Lock()

    def track(self, frame: Frame) -> Frame:
        with self.lock:
            self.now += 1
            self.max = max(self.max, self.now)
        weakref.finalize(frame.image, self.drop)
        return frame

    def drop(self) -> None:
        with self.lock:
            self.now -= 1


@pytest.fixture
def alive(monkeypatch):
    counter = Alive()
    read, decode = module.decode.read_image, module.video.video_frames

    def read_image(*args):
        return counter.track(read(*args))

    def video_frames(*args):
        for frame in decode(*args):
            counter.track(frame)
            yield frame
            del frame

    monkeypatch.setattr(module.decode, "read_image", read_image)
    monkeypatch.setattr(module.video, "video_frames", video_frames)
    return counter


def test_few_photographs_are_in_memory_at_a_time(folder, alive):
    levels = []
    with network_frames(list_sources(folder), OPTIONS, PREPARATION) as reader:
        for frame, network in reader:
            time.sleep(0.005)  # longer than a thread decodes one
            levels.append((int(frame.image[0, 0, 0]), int(network.image[0, 0, 0])))
            del frame
    assert levels == [(i, i) for i in range(40)]
    assert AHEAD < alive.max <= AHEAD + 2
    assert alive.now == 0


def test_few_frames_of_a_video_are_in_memory_at_a_time(make_video, alive):
    path = make_video(count=24, fps=4)
    sources = list_sources(path, ReadOptions(fps=4))
    with FrameReader(sources, ReadOptions(fps=4), lambda frame: None) as reader:
        count = 0
        for frame, _ in reader:
            time.sleep(0.005)
            count += 1
            assert frame.name == f"clip_{count:06d}"
            del frame
    assert count == 24
    assert alive.max <= AHEAD + 3  # including the one in the decoder


def test_leaving_the_block_early_ends_the_threads(folder, make_video):
    before = threading.active_count()
    sources = list_sources([folder, make_video("b.mp4", count=12)], ReadOptions(fps=4))
    with FrameReader(sources, ReadOptions(fps=4), lambda frame: None) as reader:
        next(reader)
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_other_errors_of_the_work_are_passed_on(folder):
    def work(frame):
        raise TypeError("a defect")

    reader = FrameReader(list_sources(folder), ReadOptions(), work)
    with pytest.raises(TypeError, match="a defect"), reader:
        next(reader)


def test_smaller_images_are_padded_to_the_network_size():
    image = np.zeros((32, 64, 3), np.uint8)
    reader = network_frames(list_sources([image]), OPTIONS, PREPARATION, (32, 32))
    with reader:
        ((_, network),) = reader
    assert network.image.shape == (32, 32, 3)
    assert network.pixel_map.network_size == (32, 32)
    assert network.pixel_map.visible == (0, 8, 32, 24)
    assert (network.image[:8] == 255).all()
    assert (network.image[8:24] == 0).all()


def test_image_larger_than_its_header_is_left_out(folder, monkeypatch):
    """The headers determine the network size of a stream before anything is decoded."""
    sources = list_sources([folder / "00.png", folder / "01.png"])
    size = PREPARATION.network_shape(probe_sizes(sources), 32, "crop")
    strict = dataclasses.replace(OPTIONS, strict=True)
    read = module.decode.read_image

    def read_image(path, exif):
        frame = read(path, exif)
        return frame if path.name == "00.png" else Frame(np.zeros((80, 40, 3), np.uint8), "01.png")

    monkeypatch.setattr(module.decode, "read_image", read_image)
    message = r"01\.png: .* 40x80 pixels, unlike its header.* exceeds the 32x24 of the stream"
    reader = network_frames(sources, OPTIONS, PREPARATION, size)
    with pytest.warns(UserWarning, match="left out: " + message), reader:
        assert [frame.name for frame, _ in reader] == ["00.png"]
    reader = network_frames(sources, strict, PREPARATION, size)
    with pytest.raises(ValueError, match=message), reader:
        list(reader)


def test_unreadable_files_warn_in_order(folder):
    (folder / "10.png").write_text("stray")
    (folder / "00.png").write_text("stray")
    with FrameReader(list_sources(folder), ReadOptions(), lambda frame: None) as reader:
        with pytest.warns(UserWarning, match=r"left out: .*00\.png"):
            next(reader)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(8):
                next(reader)
        with pytest.warns(UserWarning, match=r"left out: .*10\.png"):
            assert next(reader)[0].name == "11.png"
