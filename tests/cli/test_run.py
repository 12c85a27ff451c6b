"""`zipmap run` from files to files, and errors of its arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from zipmap_jax.cli import run
from zipmap_jax.cli.main import main
from zipmap_jax.errors import UserError
from zipmap_jax.export.options import ExportOptions

pytestmark = pytest.mark.usefixtures("micro_model")
Capture = pytest.CaptureFixture[str]
Photos = Callable[..., Path]


def mistake(capsys: Capture, *argv: object) -> str:
    """The sentence that a failing command prints."""
    capsys.readouterr()
    assert main([str(a) for a in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("zipmap: error: ")
    return last


def test_photos_to_files(tmp_path: Path, photos: Photos, capsys: Capture) -> None:
    out = tmp_path / "new" / "scene"
    assert main(["run", str(photos(3)), "-o", str(out)]) == 0
    shown, err = capsys.readouterr()
    assert shown.splitlines()[-1] == str(out / "scene.html")
    assert "views: 3" in shown
    assert err.index("memory for 3 views at 56x42") < err.index("reading: 0/3")
    assert "program: 4 views of 56x42, compiled in " in err
    assert {"scene.html", "scene.npz", "points.ply", "scene.glb", "cameras.json", "depth"} <= {
        path.name for path in out.iterdir()
    }
    with np.load(out / "scene.npz") as arrays:
        assert arrays["depth"].shape == (3, 60, 80)
        assert arrays["w2c"].shape == (3, 4, 4)


def test_json_is_one_object(tmp_path: Path, photos: Photos, capsys: Capture) -> None:
    out = tmp_path / "scene"
    assert main(["run", str(photos(3)), "-o", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["views"] == 3
    assert facts["open"] == str(out / "scene.html")
    assert facts["network_size"] == "56x42"


def test_options_reach_the_reconstruction(
    tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from zipmap_jax.inference import reconstruct as offline

    seen = {}

    def reconstruct(model: object, inputs: list[str], **options: object) -> None:
        seen.update(options, inputs=inputs)
        raise UserError("far enough")

    monkeypatch.setattr(offline, "reconstruct", reconstruct)
    flags = "--size 42 --mode pad --fps 2 --max-views 5 --chunk 3 --strict --no-exif".split()
    flags += ["--output-size", "80"]
    assert "far enough" in mistake(capsys, "run", "a", "b*.png", "-o", tmp_path / "x", *flags)
    assert seen["inputs"] == ["a", "b*.png"]
    expected = dict(size=42, mode="pad", fps=2.0, max_views=5, chunk=3, strict=True, exif=False)
    expected["output_size"] = 80
    assert {name: seen[name] for name in expected} == expected


def test_options_of_the_files_reach_them(
    tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}
    monkeypatch.setattr("zipmap_jax.export.write_all", lambda *_, **options: seen.update(options))
    flags = "--conf-threshold 20 --force --formats ply --points 7 --depth-dtype float16".split()
    assert main(["run", str(photos(3)), "-o", str(tmp_path / "x"), *flags]) == 0
    export = ExportOptions(20.0, 7, ("ply",), "float16")
    assert {name: seen[name] for name in export.arguments} == export.arguments
    assert seen["force"] is True
    assert all(value != getattr(ExportOptions(), name) for name, value in vars(export).items())


def test_the_size_of_the_output_is_told_and_must_fit_before_the_work(
    tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    out = tmp_path / "x"
    folder, options = str(photos(3)), ["-o", str(out), "--formats", "npz", "--output-size", "40"]
    assert main(["run", folder, *options]) == 0
    err = capsys.readouterr().err
    # 11 bytes for each of 40x30 pixels, and what does not depend on the size.
    assert "output: up to 0.1 MB for 3 views" in err
    assert err.index("output: up to") < err.index("reading")
    with np.load(out / "scene.npz") as scene:
        assert scene["depth"].shape == (3, 30, 40)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with_force = mistake(capsys, "run", folder, *options, "--force")
    assert "needs up to 0.1 MB, and the disk of" in with_force
    assert "lower --output-size, choose --formats" in with_force
    assert (out / "scene.npz").is_file()


def test_existing_output_is_an_error_before_loading(
    tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    folder = photos(3)
    out = tmp_path / "scene"
    assert main(["run", str(folder), "-o", str(out)]) == 0
    before = (out / "scene.npz").stat()

    def work(name: str, precision: str) -> None:
        raise AssertionError("the model was loaded")

    with monkeypatch.context() as patch:
        patch.setattr(run, "load_model", work)
        assert "--force" in mistake(capsys, "run", folder, "-o", out)
        assert "file.txt" in mistake(capsys, "run", folder, "-o", _file(tmp_path / "file.txt"))
        assert "file.txt" in mistake(capsys, "run", folder, "-o", tmp_path / "file.txt" / "deep")
        assert "100" in mistake(capsys, "run", folder, "-o", tmp_path / "y", "--conf-threshold=101")
    assert (out / "scene.npz").stat() == before
    assert main(["run", str(folder), "-o", str(out), "--force"]) == 0
    assert (out / "scene.npz").stat() != before


def _file(path: Path) -> Path:
    path.write_text("text")
    return path


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("broken.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "broken.png"),
        ("text.jpg", b"this is no picture", "text.jpg"),
        ("empty.jpg", b"", "empty.jpg"),
        ("clip.mp4", b"this is no film", "clip.mp4"),
    ],
)
def test_unreadable_input_is_named(
    name: str, content: bytes, words: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert words in mistake(capsys, "run", path, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_read(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    assert "input" in mistake(capsys, "run", "-o", out)
    assert "nowhere" in mistake(capsys, "run", tmp_path / "nowhere", "-o", out)
    assert "*.png" in mistake(capsys, "run", tmp_path / "*.png", "-o", out)
    (tmp_path / "empty").mkdir()
    assert "empty" in mistake(capsys, "run", tmp_path / "empty", "-o", out)
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert "dot.png" in mistake(capsys, "run", tmp_path / "dot.png", "-o", out)
    assert not out.exists()


def test_bad_numbers_name_the_option(tmp_path: Path, photos: Photos, capsys: Capture) -> None:
    folder, out = photos(1), tmp_path / "out"
    for flag, value in (("--size", "50"), ("--fps", "0"), ("--max-views", "0"), ("--chunk", "0")):
        assert value in mistake(capsys, "run", folder, "-o", out, flag, value)
    assert not out.exists()


@pytest.mark.filterwarnings("default")
def test_stray_file_is_left_out_with_a_warning(
    tmp_path: Path, photos: Photos, capsys: Capture
) -> None:
    folder = photos(3)
    _file(folder / "stray.jpg")
    assert main(["run", str(folder), "-o", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "views: 3" in out
    assert "zipmap: warning: left out: " in err
    assert "stray.jpg" in err
    assert "stray.jpg" in mistake(capsys, "run", folder, "-o", tmp_path / "other", "--strict")


def test_unusual_pixel_formats(tmp_path: Path, capsys: Capture) -> None:
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 255, (60, 80), np.uint8))
    pictures = {
        "deep.png": Image.fromarray(rng.integers(0, 65535, (60, 80), np.uint16)),
        "alpha.png": grey.convert("RGBA"),
        "ink.jpg": grey.convert("CMYK"),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    files = [str(tmp_path / name) for name in pictures]
    assert main(["run", *files, "-o", str(tmp_path / "out"), "--strict"]) == 0
    assert "views: 3" in capsys.readouterr().out


def test_an_unknown_model_is_an_error(
    tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from zipmap_jax.cli.loading import load_model

    monkeypatch.setattr(run, "load_model", load_model)
    argv = ("run", photos(1), "-o", tmp_path / "out", "--model")
    assert "gigantic" in mistake(capsys, *argv, "gigantic")
    assert "hf://" in mistake(capsys, *argv, "hf://alone")
