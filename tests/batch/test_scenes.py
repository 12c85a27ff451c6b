from __future__ import annotations

import pytest

from zipmap_jax.batch.scenes import list_scenes, share, which_process


def test_folders_and_videos_are_scenes(folder, tmp_path):
    (folder / "clip.MP4").write_bytes(b"")
    (folder / "notes.txt").write_text("")
    (folder / ".hidden").mkdir()
    (folder / "out").mkdir()
    scenes = list_scenes(folder, folder / "out")
    assert [scene.name for scene in scenes] == sorted(["a", "b", "c", "clip", "d", "e", "f"])
    assert {scene.path.name for scene in scenes} >= {"a", "clip.MP4"}


def test_two_scenes_of_one_name_raise(folder, tmp_path):
    (folder / "a.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match=r"scenes/a and .*a\.mp4 would both .* rename"):
        list_scenes(folder, tmp_path / "out")


def test_a_folder_without_scenes_raises(folder, tmp_path):
    with pytest.raises(ValueError, match=r"no folders of images .* use zipmap run"):
        list_scenes(folder / "a", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no folders of images .* check the path"):
        list_scenes(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(ValueError, match="is no folder"):
        list_scenes(tmp_path / "nowhere", tmp_path / "out")


def test_loose_images_raise_a_warning(folder, tmp_path):
    (folder / "loose.jpg").write_bytes(b"")
    with pytest.warns(UserWarning, match="1 images directly in"):
        assert len(list_scenes(folder, tmp_path / "out")) == 6


def test_processes_share_without_overlap(folder, tmp_path):
    scenes = list_scenes(folder, tmp_path / "out")
    parts = [share(scenes, i, 4) for i in range(4)]
    assert sorted(scene.name for part in parts for scene in part) == [s.name for s in scenes]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_process_is_an_option_or_a_variable():
    assert which_process(None, {}) == (0, 1)
    assert which_process("2/3", {"JAX_PROCESS_ID": "0"}) == (2, 3)
    assert which_process(None, {"JAX_PROCESS_ID": "1", "JAX_NUM_PROCESSES": "2"}) == (1, 2)


@pytest.mark.parametrize("text", ["3/3", "1", "a/b", "-1/2", "0/0", "1/"])
def test_an_invalid_process_raises(text):
    with pytest.raises(ValueError, match=r"--process must be an index .* like 0/4, got"):
        which_process(text, {})


def test_one_of_the_two_variables_raises():
    with pytest.raises(ValueError, match="JAX_PROCESS_ID and JAX_NUM_PROCESSES must be"):
        which_process(None, {"JAX_NUM_PROCESSES": "2"})
