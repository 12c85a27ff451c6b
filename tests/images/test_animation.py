"""Files of several pictures: all of them are listed, sampled by time, or named as left out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from tests.pictures import read_frames
from zipmap_jax.errors import UserError
from zipmap_jax.images.animation import index_pictures
from zipmap_jax.images.options import ReadOptions
from zipmap_jax.images.sources import list_sources, probe_sizes

ANIMATIONS = ("turn.gif", "turn.webp", "turn.png", "turn.avif", "turn.apng")


def picture(level, size=(24, 16)):
    return Image.new("RGB", size, (20 * level,) * 3)


def write(path, count=8, **options):
    """Pictures with the grey levels 20, 40 and so on."""
    pictures = [picture(level) for level in range(1, count + 1)]
    if path.suffix in (".webp", ".png", ".apng"):
        options |= {"lossless": True}
    form = {"format": "PNG"} if path.suffix == ".apng" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **form, **options)
    return path


def levels(frames):
    return [round(float(frame.image.mean()) / 20) for frame in frames]


@pytest.mark.parametrize("name", ANIMATIONS)
def test_animation_is_sampled_by_its_time_like_a_video(tmp_path, name):
    path = write(tmp_path / name, duration=100)
    frames = read_frames(path, fps=10)
    assert levels(frames) == list(range(1, 9))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(8) / 10, atol=1e-6)
    assert [frame.name for frame in frames][:2] == ["turn_000001", "turn_000002"]
    assert levels(read_frames(path, fps=5)) == [2, 4, 6, 8]
    with pytest.warns(UserWarning, match=rf"{name} gives 1 view of its 8 frames at fps 1: raise"):
        assert levels(read_frames(path)) == [1]


def test_durations_of_an_animation_differ(tmp_path):
    path = write(tmp_path / "a.gif", count=6, duration=[100, 100, 100, 700, 1000, 500])
    frames = read_frames(path, fps=1)
    assert levels(frames) == [1, 5, 6]
    np.testing.assert_allclose([frame.time for frame in frames], [0, 1, 2])


def test_substitute_for_an_animation_is_left_out(tmp_path):
    path = tmp_path / "a.png"
    frames = [picture(level) for level in (2, 3)]
    picture(9).save(path, save_all=True, append_images=frames, default_image=True, duration=100)
    assert levels(read_frames(path, fps=10)) == [2, 3]


def test_all_pages_are_read_without_thumbnails_and_masks(tmp_path):
    """Pages differ in size, and so do their network images."""
    path = tmp_path / "stack.tif"
    with TiffImagePlugin.AppendingTiffWriter(str(path), new=True) as out:
        for level, size, kind in ((1, (24, 16), 0), (2, (6, 4), 1), (3, (32, 16), 0)):
            picture(level, size).save(out, format="TIFF", tiffinfo={254: kind})
            out.newFrame()
    frames = read_frames(path)
    assert levels(frames) == [1, 3]
    assert [frame.time for frame in frames] == [None, None]
    assert [frame.name for frame in frames] == ["stack_000001", "stack_000003"]
    assert probe_sizes(list_sources(path)) == [(16, 24), (16, 32)]


def test_animations_and_pages_in_a_folder_of_photographs(tmp_path):
    picture(9).save(tmp_path / "a.png")
    write(tmp_path / "b.gif", count=3, duration=100)
    write(tmp_path / "c.tif", count=2)
    picture(8).save(tmp_path / "d.jpg")
    frames = read_frames(tmp_path, fps=10)
    assert levels(frames) == [9, 1, 2, 3, 1, 2, 8]
    assert probe_sizes(list_sources(tmp_path, ReadOptions(fps=10))) == [(16, 24)] * 7
    with pytest.raises(UserError, match=r"b\.gif occurs twice"):
        list_sources([tmp_path, tmp_path / "b.gif"], ReadOptions(fps=10))


def test_pictures_that_accompany_a_photograph_are_named_once(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.mpo"):
        picture(4).save(
            tmp_path / name, format="MPO", save_all=True, append_images=[picture(9, (6, 4))]
        )
    with pytest.warns(UserWarning, match=r"a\.jpg and 2 more files hold previews") as caught:
        frames = read_frames(tmp_path, strict=True)
    assert len(caught) == 1
    assert levels(frames) == [4, 4, 4]
    assert [frame.name for frame in frames] == ["a.jpg", "b.jpg", "c.mpo"]


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif", "a.jpg"])
def test_one_picture_is_a_photograph(tmp_path, name):
    picture(4).save(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (frame,) = read_frames(tmp_path / name)
    assert (frame.name, frame.time) == (name, None)
    assert index_pictures(tmp_path / name) is None


def test_damaged_animation_is_used_up_to_the_damage(tmp_path):
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)) for _ in range(6)]
    path = tmp_path / "a.png"
    noise[0].save(path, save_all=True, append_images=noise[1:], duration=100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.warns(UserWarning, match=r"a\.png cannot be read .*; \d of 6 pictures are used"):
        frames = read_frames(path, fps=10)
    assert 2 <= len(frames) < 6
    with pytest.raises(UserError, match=r"a\.png cannot be read"):
        read_frames(path, fps=10, strict=True)
