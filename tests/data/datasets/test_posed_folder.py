"""Recordings in a folder: files to frames, broken folders, the table of data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.posed import HEIGHT, WIDTH, break_frame, write_scene
from zipmap_jax.data.datasets.posed_folder import PosedFolder
from zipmap_jax.data.datasets.readers import open_source
from zipmap_jax.data.frame import BrokenFrameError, check_frame


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_frames_are_read_as_written(tmp_path: Path, suffix: str) -> None:
    write_scene(tmp_path / "a", 1, 3, suffix)
    write_scene(tmp_path / "b", 2, 5, suffix)
    reader = PosedFolder(tmp_path)
    assert reader.lengths.tolist() == [3, 5]
    frame = reader.load(1, 4)
    check_frame(frame)
    assert frame.id == 4
    assert frame.image[0, 0].tolist() == [80, 20, 0]
    np.testing.assert_allclose(frame.depth, np.full((HEIGHT, WIDTH), 2.0), rtol=1e-6)
    assert frame.depth.dtype == np.float32
    assert frame.w2c[0, 3] == 4
    assert frame.w2c[3].tolist() == [0, 0, 0, 1]
    assert frame.intrinsics[0].tolist() == [30, 0, WIDTH / 2]


def test_a_broken_folder_is_left_out_with_a_warning(tmp_path: Path) -> None:
    write_scene(tmp_path / "a", 1, 3)
    write_scene(tmp_path / "b", 2, 3)
    (tmp_path / "b" / "cameras.json").write_text('{"frames": [{}]}')
    with pytest.warns(UserWarning, match=r"left out: .*b/cameras.json is broken"):
        reader = PosedFolder(tmp_path)
    assert len(reader.lengths) == 1


def test_sources_by_name(tmp_path: Path) -> None:
    write_scene(tmp_path / "a", 1, 6)
    views = open_source("posed_folder", tmp_path).scene(np.random.default_rng(0), 3, (14, 28))
    assert views.sequence == 0
    assert {frame.image.shape for frame in views.frames} == {(14, 28, 3)}
    assert {frame.depth.shape for frame in views.frames} == {(14, 28)}
    # Views keep their own depth and pose.
    for frame in views.frames:
        assert frame.image[7, 14, 1] == 5 * frame.id
        assert frame.depth[7, 14] == pytest.approx(1 + frame.id / 4)
        assert frame.w2c[0, 3] == frame.id


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("scanet", {}, "there is no data set 'scanet': choose from procedural, posed_folder"),
        ("posed_folder", {"min_views": 7}, "has no sequence of at least 7 frames"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, name: str, options: dict[str, int], sentence: str
) -> None:
    write_scene(tmp_path / "a", 1, 6)
    with pytest.raises(ValueError, match=sentence):
        open_source(name, tmp_path, **options)  # type: ignore[arg-type]


def test_an_empty_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder with a usable cameras.json"):
        PosedFolder(tmp_path)


def test_a_broken_frame_names_its_place(tmp_path: Path) -> None:
    write_scene(tmp_path / "a", 1, 2)
    break_frame(tmp_path / "a", 0)
    break_frame(tmp_path / "a", 1)
    source = open_source("posed_folder", tmp_path)
    with pytest.raises(BrokenFrameError, match=r"sequence 0, frame [01]: "):
        source.scene(np.random.default_rng(0), 2, (14, 28))


def test_samplers_follow_the_configuration(tmp_path: Path) -> None:
    write_scene(tmp_path / "a", 1, 30)
    source = open_source("posed_folder", tmp_path, video_prob=1.0, max_interval=1)
    for seed in range(5):
        ids = [f.id for f in source.scene(np.random.default_rng(seed), 4, (14, 28)).frames]
        assert np.diff(ids).tolist() == [1, 1, 1]
