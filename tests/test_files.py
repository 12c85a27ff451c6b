"""Atomic files and folders, and JSON without NaN or infinity."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from zipmap_jax.files import (
    dumps,
    move_folder,
    natural_order,
    new_folder,
    printable,
    replacing,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_non_finite_numbers_become_null() -> None:
    value = {"a": [1.5, math.nan], "b": (math.inf, 2), "c": "NaN"}
    assert json.loads(dumps(value)) == {"a": [1.5, None], "b": [None, 2], "c": "NaN"}
    assert dumps({"x": 1.0}, indent=1) == '{\n "x": 1.0\n}'


def test_text_and_json_replace_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text(file, "größer\n")
    assert file.read_text("utf-8") == "größer\n"
    write_json(file, {"x": math.nan})
    assert file.read_text("utf-8") == '{\n "x": null\n}\n'
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=lambda e: repr(e))
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")

    def fail() -> None:
        with replacing(file) as partial:
            partial.write_bytes(b"half")
            assert file.read_bytes() == b"old"
            assert partial.parent == tmp_path
            raise error

    with pytest.raises(type(error)):
        fail()
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
    assert not names(tmp_path)


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "\N{CAMERA}" * 63])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "x")
    with new_folder(tmp_path / "b" / name) as stage:
        move_folder(stage, tmp_path / "b" / name)
    assert names(tmp_path / "b") == [name]


def test_a_folder_replaces_an_older_one_through_its_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").write_text("")
    out = tmp_path / "link"
    out.symlink_to("real")
    with new_folder(out) as stage:
        (stage / "new").write_text("")
        move_folder(stage, out)
    assert names(tmp_path) == ["link", "real"]
    assert names(tmp_path / "real") == ["new"]
    assert out.is_symlink()


def test_a_failed_folder_is_removed_with_the_parents_made_for_it(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "a" / "b" / "out") as stage:
            (stage / "half").write_text("")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not names(tmp_path)


def test_an_older_folder_is_restored_when_the_new_one_cannot_be_renamed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("")
    with pytest.raises(FileNotFoundError):
        move_folder(tmp_path / "absent", out)
    assert names(tmp_path) == ["out"]
    assert names(out) == ["old"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("père.jpg", "père.jpg"),
        (os.fsdecode(b"p\xe9re.jpg"), "p\ufffdre.jpg"),
        (b"p\xc3\xa8re.jpg".decode("ascii", "surrogateescape"), "père.jpg"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
    ],
)
def test_names_become_text_that_utf8_can_encode(name: str, expected: str) -> None:
    assert printable(name) == expected


def test_natural_order_compares_numbers_and_keeps_time_stamps() -> None:
    names = ["a/frame2.jpg", "a/frame10.jpg", "a10/frame1.jpg", "frame 1b3.jpg", "frame 1b20.jpg"]
    names += ["IMG_20240101_235959.jpg", "IMG_20240102_000001.jpg", "001.png", "002.png", "010.png"]
    names += ["1.png", "²³.png", "x", "x.png"]
    ordered = sorted(map(Path, names), key=natural_order)
    for group in (names[:3], names[3:5], names[5:7], names[7:10]):
        places = [ordered.index(Path(name)) for name in group]
        assert places == sorted(places)
