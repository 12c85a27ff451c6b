from __future__ import annotations

import os
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.pictures import read_frames
from zipmap_jax.errors import UserError
from zipmap_jax.images.sources import evenly_spaced, list_sources, probe_sizes


@pytest.fixture
def folder(tmp_path):
    """Three images, written out of order, with the grey levels 1, 2, 10."""
    for name, level in (("b2.png", 2), ("a1.jpg", 1), ("b10.PNG", 10)):
        Image.new("RGB", (40, 30), (level,) * 3).save(tmp_path / name)
    return tmp_path


def names(frames):
    return [frame.name for frame in frames]


def test_folder_is_read_in_natural_order(folder):
    (folder / "notes.txt").write_text("stray")
    (folder / ".hidden.png").write_text("stray")
    (folder / "sub").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "sub" / "deep.png")
    frames = read_frames(folder)
    assert names(frames) == ["a1.jpg", "b2.png", "b10.PNG"]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 10]


def test_inputs_keep_their_order(folder):
    assert names(read_frames([folder / "b2.png", str(folder / "a1.jpg")])) == ["b2.png", "a1.jpg"]


def test_glob(folder):
    assert names(read_frames(str(folder / "b*.[pP]*"))) == ["b2.png", "b10.PNG"]
    (folder / "b9.txt").write_text("stray")
    assert names(read_frames(str(folder / "b*"))) == ["b2.png", "b10.PNG"]


def test_images_of_the_only_sub_folder(tmp_path):
    for name in ("room/images/2.png", "room/images/10.png", "room/masks/2.png", "room/.x/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    with pytest.warns(UserWarning, match=r"the images are those of .*room.images"):
        assert names(read_frames(tmp_path / "room")) == ["2.png", "10.png"]
    (tmp_path / "room" / "other").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "room" / "other" / "1.png")
    with pytest.raises(UserError, match=r"did you mean .*room.images or .*room.other\?"):
        list_sources(tmp_path / "room")


def test_existing_file_with_glob_characters_is_a_file(folder):
    Image.new("RGB", (40, 30)).save(folder / "x*[1].png")
    assert names(read_frames(str(folder / "x*[1].png"))) == ["x*[1].png"]


def test_repeated_names_get_a_suffix(folder):
    assert names(read_frames([folder / "b2.png"] * 2)) == ["b2.png", "b2-2.png"]


def test_photographs_and_video_together(folder, make_video):
    video = make_video(count=12, fps=4)
    frames = read_frames([folder / "a1.jpg", video], fps=1)
    assert names(frames) == ["a1.jpg", "clip_000004", "clip_000008", "clip_000012"]
    assert [frame.time is None for frame in frames] == [True, False, False, False]
    assert probe_sizes(list_sources([folder / "a1.jpg", video])) == [(30, 40)] + [(32, 64)] * 3


def test_max_views_spans_the_whole_list(folder, make_video):
    video = make_video(count=12, fps=4)
    frames = read_frames([folder, video], fps=4, max_views=4)
    assert names(frames) == ["a1.jpg", "clip_000003", "clip_000007", "clip_000012"]


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [(10, 4, [0, 3, 6, 9]), (10, 1, [0]), (3, 5, [0, 1, 2]), (5, None, [0, 1, 2, 3, 4])],
)
def test_evenly_spaced(total, count, expected):
    assert evenly_spaced(range(total), count) == expected  # type: ignore[arg-type]


def test_arrays_of_every_kind():
    one = np.full((30, 40, 3), 7, np.uint8)
    assert names(read_frames(one)) == ["view_000"]
    assert names(read_frames(np.stack([one, one]))) == ["view_000", "view_001"]
    assert names(read_frames(jnp.zeros((2, 30, 40, 3)))) == ["view_000", "view_001"]
    assert names(read_frames([one, Image.fromarray(one)])) == ["view_000", "view_001"]


def test_bad_array_raises_and_is_named():
    good = np.zeros((30, 40, 3))
    with pytest.raises(ValueError, match="image 1 contains NaN"):
        read_frames([good, good * np.nan])
    with pytest.raises(ValueError, match="image 1 must be an array"):
        read_frames([good, {"not": "an image"}])


@pytest.mark.parametrize("inputs", [[], (), np.zeros((0, 8, 8, 3))])
def test_empty_input_is_refused(inputs):
    with pytest.raises(ValueError, match="the input is empty"):
        read_frames(inputs)


def test_inputs_without_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"gone does not exist"):
        read_frames(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"glob .*\*\.jpg contains no image or video"):
        read_frames(str(tmp_path / "*.jpg"))
    with pytest.raises(ValueError, match=r"folder .* contains no images"):
        read_frames(tmp_path)
    with pytest.raises(ValueError, match="the empty path does not exist"):
        read_frames("")


def test_missing_path_among_good_ones_raises(folder):
    with pytest.raises(ValueError, match=r"gone\.jpg does not exist"):
        read_frames([folder, folder / "gone.jpg"])


@pytest.mark.parametrize("stray", ["text.jpg", "clip.mp4", "readme.md"])
def test_unreadable_file_is_left_out_with_a_warning_unless_strict(folder, stray):
    (folder / stray).write_text("not a picture")
    inputs = [folder / "a1.jpg", folder / stray, folder / "b2.png"]
    with pytest.warns(UserWarning, match=f"left out: .*{stray}"):
        assert names(read_frames(inputs)) == ["a1.jpg", "b2.png"]
    with pytest.raises(ValueError, match=stray):
        read_frames(inputs, strict=True)


def test_unreadable_files_alone_raise(tmp_path):
    for name in ("x.jpg", "y.jpg"):
        (tmp_path / name).write_text("not a picture")
    with pytest.raises(ValueError, match=r"x\.jpg is not an image.*\(and 1 more like it\)"):
        read_frames(tmp_path)


def test_user_error_of_the_work_leaves_the_image_out(folder):
    def work(frame):
        if frame.name.startswith("b"):
            raise UserError(f"{frame.name} is unsuitable")

    with pytest.warns(UserWarning, match="unsuitable"):
        assert names(read_frames(folder, work=work)) == ["a1.jpg"]


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_bad_fps_is_refused(folder, fps):
    with pytest.raises(ValueError, match="fps must be a positive number"):
        read_frames(folder, fps=fps)


def test_bad_max_views_is_refused(folder):
    with pytest.raises(ValueError, match="max_views must be at least 1, got 0"):
        read_frames(folder, max_views=0)


def test_progress_counts_every_view(folder, make_video):
    calls = []
    video = make_video(count=8, fps=4)
    read_frames([folder, video], progress=lambda *call: calls.append(call))
    assert calls == [("reading", done, 5) for done in range(6)]


def test_probing_skips_unreadable_files(folder):
    (folder / "c.jpg").write_text("stray")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probe_sizes(list_sources(folder)) == [(30, 40)] * 3


def test_pictures_of_a_folder_that_are_not_used_are_named(tmp_path):
    """Raw files and short films beside their photographs are expected, others are not."""
    picture = Image.new("RGB", (40, 30))
    for name in ("IMG_1.jpg", "IMG_2.jpg"):
        picture.save(tmp_path / name)
    for name in ("IMG_1.NEF", "IMG_2.MOV", "._IMG_3.NEF", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list_sources(tmp_path)) == 2
    for name in ("clip10.mp4", "clip9.mp4", "DSC_7.dng", "a.jxl"):
        (tmp_path / name).write_bytes(b"")
    expected = r"4 files of folder .* not used \(DSC_7\.dng, a\.jxl, clip9\.mp4, \.\.\.\)"
    with pytest.warns(UserWarning, match=expected):
        assert len(list_sources(tmp_path)) == 2
    only = tmp_path / "only"
    only.mkdir()
    (only / "DSC_7.dng").write_bytes(b"")
    with pytest.raises(UserError, match=r"only contains no images, but DSC_7\.dng: .*convert raw"):
        list_sources(only)


def test_pipes_are_left_out_and_do_not_wait(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    for name in ("b.jpg", "clip.mp4"):
        os.mkfifo(tmp_path / name)
    with pytest.warns(UserWarning, match=r"left out: .*b\.jpg is a pipe|1 file of .*clip\.mp4"):
        assert names(read_frames(tmp_path)) == ["a.jpg"]
    with pytest.warns(UserWarning, match=r"1 file of .* not used \(clip\.mp4\)"):
        assert probe_sizes(list_sources(tmp_path)) == [(30, 40)]
    for name in ("b.jpg", "clip.mp4"):
        with pytest.raises(UserError, match=f"{name} is a pipe or a device, not a file"):
            read_frames(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("https://example.com/a.jpg", "is an address, not a path: download the file"),
        ("photos.zip", "is an archive, not an image: unpack it"),
        ("views.npy", "holds arrays, not an image: pass them to zipmap_jax.reconstruct"),
    ],
)
def test_other_kinds_of_input_have_their_own_remedy(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.zip").write_bytes(b"PK\3\4")
    (tmp_path / "views.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match=message):
        read_frames(name)
