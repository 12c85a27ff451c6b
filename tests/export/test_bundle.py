from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from tests.scenes import room
from zipmap_jax.export import FORMATS, Format, OutputError, load_scene, read_ply, write_all
from zipmap_jax.export.output import check_output
from zipmap_jax.scene.scene import Scene

NAMES = {"scene.html", "points.ply", "scene.glb", "cameras.json", "scene.npz", "README.txt"}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return room(2, (24, 32), border=1)


def contents(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_everything_is_written_and_listed(tmp_path: Path, scene: Scene) -> None:
    steps = []
    out = tmp_path / "new" / "out"
    paths = write_all(
        scene,
        out,
        conf_threshold=30,
        max_points=500,
        notes="By the window.",
        progress=lambda *step: steps.append(step),
    )
    written = {p.relative_to(out).as_posix() for p in paths}
    assert written == contents(out)
    assert {name for name in written if not name.startswith("depth/")} == NAMES
    assert len(written) == len(NAMES) + len(scene)
    assert steps == [("export", i + 1, len(FORMATS)) for i in range(len(FORMATS))]
    assert len(read_ply(out / "points.ply")) == 500
    assert len(load_scene(out / "scene.npz")) == 2
    readme = (out / "README.txt").read_text("utf-8")
    for word in (*NAMES, "OpenCV", "arbitrary", "32x24", "By the window.", "interpolated"):
        assert word in readme
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_existing_output_is_kept_without_force(tmp_path: Path, scene: Scene) -> None:
    with pytest.raises(OutputError, match=r"exists; choose another name, or .* --force"):
        write_all(scene, tmp_path, conf_threshold=0, max_points=10)
    assert not contents(tmp_path)


def test_force_replaces_earlier_outputs_and_empty_folders(tmp_path: Path, scene: Scene) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_all(scene, out, max_points=10, force=True)
    three = room(3, (12, 16))
    write_all(three, out, max_points=10, force=True)
    assert len(load_scene(out / "scene.npz")) == 3
    assert len(list((out / "depth").iterdir())) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("foreign", ["thesis.txt", "depth/mine.png", ".hidden"])
def test_force_keeps_other_files(tmp_path: Path, scene: Scene, foreign: str) -> None:
    out = tmp_path / "out"
    write_all(scene, out, max_points=10)
    (out / foreign).write_text("precious")
    before = contents(out)
    with pytest.raises(OutputError, match=f"holds {foreign}, not written by this program"):
        write_all(scene, out, max_points=10, force=True)
    assert contents(out) == before


def test_files_of_file_managers_are_ignored(tmp_path: Path, scene: Scene) -> None:
    out = tmp_path / "out"
    write_all(scene, out, max_points=10)
    for name in (".DS_Store", "depth/Thumbs.db"):
        (out / name).write_text("")
    write_all(scene, out, max_points=10, force=True)
    assert not (out / ".DS_Store").exists()


def test_longest_file_names_are_written(tmp_path: Path, scene: Scene) -> None:
    out = tmp_path / ("o" * 255)
    write_all(scene, out, max_points=10)
    write_all(scene, out, max_points=10, force=True)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_force_keeps_a_folder_that_resembles_an_output(tmp_path: Path, scene: Scene) -> None:
    (tmp_path / "README.txt").write_text("My holiday\n\nFiles written\n---\n  cameras.json\n")
    (tmp_path / "cameras.json").write_text("{}")
    with pytest.raises(OutputError, match=r"README.txt and 1 more, not written"):
        write_all(scene, tmp_path, force=True)
    assert contents(tmp_path) == {"README.txt", "cameras.json"}


def test_notes_do_not_mark_other_files_as_output(tmp_path: Path, scene: Scene) -> None:
    out = tmp_path / "out"
    write_all(scene, out, max_points=10, notes="Files written\n---\n  thesis.txt")
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"holds thesis.txt"):
        write_all(scene, out, max_points=10, force=True)


def test_existing_file_at_the_output_is_named(tmp_path: Path, scene: Scene) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(OutputError, match="exists and is no folder"):
        write_all(scene, file, force=True)
    with pytest.raises(OutputError, match="is no folder; choose another place"):
        write_all(scene, file / "out")
    assert file.read_text() == "x"


def test_unwritable_folder_is_named(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    def refuse(path: Path, mode: int) -> bool:  # root ignores permissions
        checked.append((path, mode))
        return False

    monkeypatch.setattr("os.access", refuse)
    with pytest.raises(OutputError, match="does not let you write"):
        check_output(tmp_path / "a" / "b", force=False)
    assert checked == [(tmp_path, os.W_OK | os.X_OK)]


def failing(error: BaseException) -> Format:
    def write(request: object, folder: Path) -> list[Path]:
        (folder / "half").write_text("half")
        raise error

    return Format(write, lambda sizes: 0, "half: half a file.")


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OutputError, "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied"), OutputError, "Permission denied"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_failure_leaves_no_files(
    tmp_path: Path,
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
    words: str | None,
) -> None:
    monkeypatch.setitem(FORMATS, "half", failing(error))
    with pytest.raises(raised, match=words):
        write_all(scene, tmp_path / "a" / "b" / "out", max_points=10)
    assert not list(tmp_path.iterdir())


def test_failure_keeps_the_earlier_output(
    tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_all(scene, out, max_points=10)
    before = {name: (out / name).read_bytes() for name in contents(out)}
    monkeypatch.setitem(FORMATS, "half", failing(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OutputError, match="disk is full"):
        write_all(scene, out, max_points=20, force=True)
    assert {name: (out / name).read_bytes() for name in contents(out)} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_only_selected_formats_are_written(tmp_path: Path, scene: Scene) -> None:
    write_all(scene, tmp_path / "out", formats=["cameras", "ply"])
    assert contents(tmp_path / "out") == {"cameras.json", "points.ply", "README.txt"}
    with pytest.raises(ValueError, match="'colmop' is no output format"):
        write_all(scene, tmp_path / "other", formats=["colmop"])


def test_scene_that_cannot_be_written_is_named(tmp_path: Path, scene: Scene) -> None:
    w2c = scene.w2c.copy()
    w2c[1, 0, 3] = np.nan
    with pytest.raises(ValueError, match=r"that of view 1 \(IMG_1.jpg\) is not"):
        write_all(dataclasses.replace(scene, w2c=w2c), tmp_path / "out")
    none = Scene(np.zeros((0, 4, 4)), np.zeros((0, 3, 3)), (), (), (), ())
    with pytest.raises(ValueError, match="at least one view"):
        write_all(none, tmp_path / "out")
    depth = (scene.depth[0][1:], scene.depth[1])
    with pytest.raises(ValueError, match=r"of one size, but view 0"):
        write_all(dataclasses.replace(scene, depth=depth), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_scene_without_any_depth_is_still_written(tmp_path: Path, scene: Scene) -> None:
    unknown = tuple(np.full_like(d, np.nan) for d in scene.depth)
    write_all(dataclasses.replace(scene, depth=unknown), tmp_path / "out")
    assert len(read_ply(tmp_path / "out" / "points.ply")) == 0
