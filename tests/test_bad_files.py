"""Reading a damaged or foreign file raises a UserError that names the file."""

from __future__ import annotations

import dataclasses
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.scenes import room
from zipmap_jax.batch.journal import Journal
from zipmap_jax.config_io import from_json, to_json
from zipmap_jax.convert.checkpoint import CARD, WEIGHTS, map_folder, read
from zipmap_jax.convert.safetensors_file import read_safetensors, write_safetensors
from zipmap_jax.convert.torch_file import read_torch
from zipmap_jax.convert.torch_writer import write_torch
from zipmap_jax.errors import UserError, explain
from zipmap_jax.export.ply import read_ply, write_ply
from zipmap_jax.images.decode import image_size, read_image
from zipmap_jax.images.video import video_frames
from zipmap_jax.images.video_index import list_frames
from zipmap_jax.inference.program_file import load_program
from zipmap_jax.nn.config import FastWeightConfig
from zipmap_jax.parity.check import check
from zipmap_jax.scene.npz import load_scene, save_scene
from zipmap_jax.scene.points import point_cloud
from zipmap_jax.train.config.registry import load

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float32)}


def picture(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def tensors(path: Path) -> None:
    shapes = {name: array.shape for name, array in TENSORS.items()}
    write_safetensors(path, shapes, TENSORS.items(), np.dtype(np.float32))


def recorded(path: Path) -> None:
    np.savez(path, **{"out.x": np.zeros(3)}, meta=np.array('{"kind": "unknown"}'))


def program(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("program.json", '{"format": 1, "platforms": ["cpu"], "weights": "w"}')
        archive.writestr("program.bin", b"no program" * 30)


def video(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(6):
            pixels = np.full((48, 64, 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def all_tensors(path: Path) -> None:
    for array in read_torch(path).values():
        np.array(array)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Functions that write a valid file of a kind, and read it."""

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path], object]


KINDS = {
    "PNG": Kind("x.png", picture, read_image),
    "JPEG": Kind("x.jpg", picture, read_image),
    "TIFF": Kind("x.tif", picture, read_image),
    "WebP": Kind("x.webp", picture, read_image),
    "AVIF": Kind("x.avif", picture, read_image),
    "header of an image": Kind("x.avif", picture, image_size),
    "video": Kind("x.mp4", video, lambda path: list(video_frames(path))),
    "frames of a video": Kind("x.mp4", video, lambda path: list_frames(path, 5.0)),
    "scene": Kind("x.npz", lambda path: save_scene(room(2, (12, 16)), path), load_scene),
    "recorded arrays": Kind("x.npz", recorded, check),
    "PyTorch": Kind("x.pt", lambda path: write_torch(path, TENSORS), all_tensors),
    "safetensors": Kind("x.safetensors", tensors, read_safetensors),
    "PLY": Kind("x.ply", lambda path: write_ply(point_cloud(room(2, (12, 16))), path), read_ply),
    "program": Kind("x.program", program, load_program),
    "configuration": Kind("x.py", lambda path: path.write_text("x = 1\n") and None, load),
}


def sentence_of(read: Callable[[Path], object], path: Path) -> str:
    """The message of the error that reading a file raises."""
    with pytest.raises((UserError, OSError)) as caught:
        read(path)
    sentence = explain(caught.value)
    assert sentence is not None, repr(caught.value)
    return sentence


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("content", [b"", b"text\n" * 20, "größe".encode("latin-1"), b"\0" * 300])
def test_files_of_something_else(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / KINDS[name].name
    path.write_bytes(content)
    assert str(path) in sentence_of(KINDS[name].read, path)


@pytest.mark.parametrize("name", KINDS)
def test_missing_files_and_folders(tmp_path: Path, name: str) -> None:
    path = tmp_path / KINDS[name].name
    assert str(path) in sentence_of(KINDS[name].read, path)
    path.mkdir()
    assert str(path) in sentence_of(KINDS[name].read, path)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A truncated file, or one with a few changed bytes, mostly near its ends."""
    if rng.random() < 0.3:
        return content[: rng.randrange(len(content))]
    out = bytearray(content)
    for _ in range(rng.choice((1, 3, 30))):
        near = rng.randrange(min(200, len(out)))
        out[rng.choice((near, -1 - near, rng.randrange(len(out))))] = rng.randrange(256)
    return bytes(out)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in KINDS if name != "configuration"])
def test_damaged_files_raise_user_errors_only(tmp_path: Path, name: str) -> None:
    kind, rng = KINDS[name], random.Random(0)
    path = tmp_path / kind.name
    kind.write(path)
    content = path.read_bytes()
    refusals = []
    for _ in range(100):
        path.write_bytes(damaged(content, rng))
        try:
            kind.read(path)
        except UserError as error:
            refusals.append(str(error))
    assert len(refusals) > 5
    assert all(str(path) in refusal for refusal in refusals)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:\n", r"SyntaxError: .*line 1"),
        ("import nothing_of_that_name\n", r"ModuleNotFoundError: .*, line 1"),
        ("\n\ndef get_config():\n    return 1 / 0\n", r"ZeroDivisionError: .*, line 4"),
        ("def get_config():\n    return 3\n", r"has no get_config\(\) that returns"),
    ],
)
def test_a_configuration_that_cannot_be_run_names_the_line(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "card",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'{"config": []}',
        b'{"format": 1, "config": {"heads": "six"}}',
        b'{"format": 1, "config": {"depth": 2.5}}',
        b'{"format": 1, "config": {"taps": 3}}',
        b'{"format": 1, "config": {"fast": {"heads": null}}}',
        b'{"format": 1, "config": {}, "notes": 3}',
    ],
)
def test_an_invalid_card(tmp_path: Path, card: bytes) -> None:
    (tmp_path / CARD).write_bytes(card)
    tensors(tmp_path / WEIGHTS)
    with pytest.raises(UserError):
        map_folder(tmp_path)


def test_weights_that_are_a_folder(tmp_path: Path) -> None:
    (tmp_path / CARD).write_text("{}")
    (tmp_path / WEIGHTS).mkdir()
    with pytest.raises(UserError, match=f"has no {WEIGHTS}"):
        read(tmp_path)


@pytest.mark.parametrize("text", [b"", b"[]", b"3", b"{", b"\xff"])
def test_damaged_settings_of_a_batch(tmp_path: Path, text: bytes) -> None:
    (tmp_path / ".batch").mkdir()
    (tmp_path / ".batch" / "settings.json").write_bytes(text)
    with pytest.raises(UserError, match=r"settings.json .*choose another folder"):
        Journal(tmp_path).open({"model": "tiny"})


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("heads", "2"),
        ("heads", 2.0),
        ("heads", True),
        ("gate", 1),
        ("hidden_multiple", None),
        ("heads", [2]),
    ],
)
def test_configurations_keep_the_types_of_their_fields(entry: str, value: object) -> None:
    values = json.loads(json.dumps(to_json(FastWeightConfig())))
    assert from_json(FastWeightConfig, values) == FastWeightConfig()
    with pytest.raises(UserError, match=rf"FastWeightConfig\.{entry} must be"):
        from_json(FastWeightConfig, values | {entry: value})
    with pytest.raises(UserError, match="FastWeightConfig must be a table of values, got"):
        from_json(FastWeightConfig, [entry])  # type: ignore[arg-type]
