"""All entry points support a model other than ZipMap without a special case."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import zipmap_jax
from tests.recurrent import KIND, RecurrentModel
from zipmap_jax.cli.main import main
from zipmap_jax.convert import registry
from zipmap_jax.convert.checkpoint import save
from zipmap_jax.errors import UserError
from zipmap_jax.export import load_scene
from zipmap_jax.inference.buckets import Bucket
from zipmap_jax.inference.program_file import load_program
from zipmap_jax.inference.stream_program import compile_stream
from zipmap_jax.structs import Views

FOCAL = 1.25


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint folder whose card names the second model."""
    registry.register("recurrent", KIND)
    folder = tmp_path / "recurrent"
    card = {
        "format": 1,
        "model": "recurrent",
        "name": "running mean",
        "dtype": "float32",
        "config": {"focal": FOCAL},
        "notes": [],
    }
    save(folder, RecurrentModel().init(jax.random.key(0)), card)
    yield folder
    registry._KINDS.pop("recurrent")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photographs of 64x48, of which a network of 48 sees 48x32 (patches of 8)."""
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        pixels = rng.integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def expected(photos: Path) -> tuple[np.ndarray, np.ndarray]:
    """Depth at network size and camera positions, from one `update` on the network images."""
    model = RecurrentModel(FOCAL)
    fitted = []
    for path in sorted(photos.iterdir()):
        image, _ = model.preparation.fit(np.asarray(Image.open(path)), 48, "crop")
        fitted.append(image)
    images = model.preparation.normalise(jnp.asarray(np.stack(fitted)))
    assert float(images.min()) < -0.9
    params = model.init(jax.random.key(0))
    _, prediction = model.update(params, model.init_state(params), Views(images[None]))
    return np.asarray(prediction.depth[0]), np.asarray(prediction.w2c)[0, :, :3, 3]


def test_reconstruct(checkpoint: Path, photos: Path) -> None:
    model = zipmap_jax.load(checkpoint)
    assert model.model == RecurrentModel(FOCAL)
    programs = []
    for chunk in (None, 2):
        scene = zipmap_jax.reconstruct(model, photos, chunk=chunk, on_program=programs.append)
        depth, places = expected(photos)
        assert scene.model == "running mean"
        assert scene.network_size == (32, 48)
        np.testing.assert_allclose(scene.w2c[:, :3, 3], places, atol=1e-6)
        # Square pixels: 64 original pixels across, and 48 for 32 network rows.
        np.testing.assert_allclose(scene.intrinsics[0, 0, 0], FOCAL * 64, rtol=1e-6)
        np.testing.assert_allclose(scene.intrinsics[0, 1, 1], FOCAL * 48 * 48 / 32, rtol=1e-6)
        middle = scene.depth[3][24, 32]
        assert depth[3].min() - 1e-5 <= middle <= depth[3].max() + 1e-5
    assert [program.bucket.chunk for program in programs] == [None, 2]


def test_batch(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    scenes.mkdir()
    photos.rename(scenes / "room")
    assert main(["batch", str(scenes), "-o", str(out), "--model", str(checkpoint)]) == 0
    scene = load_scene(out / "room" / "scene.npz")
    assert len(scene) == 5
    np.testing.assert_allclose(scene.w2c[:, :3, 3], expected(scenes / "room")[1], atol=1e-6)


def test_compile_ahead_of_time(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "--model", str(checkpoint), "--views", "3", "--ratio", "4:3"]) == 0
    assert "of 48x32" in capsys.readouterr().out


def test_exported_program(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("flatbuffers")
    path = tmp_path / "p.program"
    arguments = f"--model {checkpoint} --views 5 --size 32x48 --platforms cpu -o {path}"
    assert main(["export-program", *arguments.split()]) == 0
    program = load_program(path)
    assert program.facts["model"] == "running mean"
    preparation = RecurrentModel().preparation
    fitted = [
        preparation.fit(np.asarray(Image.open(p)), 48, "crop")[0] for p in sorted(photos.iterdir())
    ]
    out = program(np.stack(fitted))
    depth, places = expected(photos)
    np.testing.assert_allclose(out["depth"], depth, rtol=1e-5)
    np.testing.assert_allclose(out["w2c"][:, :3, 3], places, atol=1e-6)


def test_a_card_of_an_unknown_model_is_refused(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    card = json.loads((checkpoint / "card.json").read_text())
    (checkpoint / "card.json").write_text(json.dumps({**card, "model": "recurent"}))
    assert main(["run", str(tmp_path), "-o", str(tmp_path / "o"), "--model", str(checkpoint)]) == 2
    error = capsys.readouterr().err
    assert "is of an unknown model 'recurent' (nearest: recurrent)" in error


def test_flags_of_views_reach_the_model_through_the_public_step() -> None:
    model, images = (
        RecurrentModel(FOCAL),
        np.random.default_rng(1).integers(0, 256, (1, 6, 8, 8, 3)),
    )
    images = images.astype(np.uint8)
    update = np.asarray([[True, False, True, True, False, True]])
    reset = np.asarray([[False, False, False, True, False, False]])
    params, bucket = model.init(jax.random.key(0)), Bucket(4, 8, 8, chunk=4)
    program = compile_stream(model, params, bucket, flags=("update", "reset"))
    state, depths = program.init(params), []
    for span in (slice(0, 4), slice(4, 6)):
        views = Views(images[:, span], None, update[:, span], reset[:, span])  # type: ignore[arg-type]
        state, prediction = program.step(state, views)
        depths.append(prediction.depth[:, : span.stop - span.start])
    whole = Views(model.preparation.normalise(jnp.asarray(images)), None, update, reset)  # type: ignore[arg-type]
    expected_state, expected = model.update(params, model.init_state(params), whole)
    np.testing.assert_allclose(np.concatenate(depths, 1), expected.depth, rtol=1e-6)
    np.testing.assert_allclose(state.scene["mean"], expected_state["mean"], rtol=1e-6)
    assert state.scene["count"].tolist() == [2]  # since the reset, two of three views update
    plain = model.update(params, model.init_state(params), Views(whole.images))[1]
    assert np.abs(plain.depth - expected.depth).max() > 1e-3

    program = compile_stream(model, params, bucket)
    with pytest.raises(UserError, match="flags of the views differ"):
        program.step(program.init(params), Views(images[:, :2], None, update[:, :2]))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="at most 4 views, got 5"):
        program.step(program.init(params), Views(images[:, :5]))  # type: ignore[arg-type]


def test_a_batch_takes_streams_in_chunk_by_chunk(
    checkpoint: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scene of a streaming model never has all of its network images in memory."""
    monkeypatch.setattr("zipmap_jax.batch.run.read_views", None)
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    scenes.mkdir()
    photos.rename(scenes / "room")
    (scenes / "junk").mkdir()
    (scenes / "junk" / "a.png").write_bytes(b"no picture")
    (scenes / "junk" / "b.png").write_bytes(b"no picture")
    argv = ["batch", str(scenes), "-o", str(out), "--model", str(checkpoint), "--chunk", "1"]
    assert main(argv) == 1
    manifest = json.loads((out / "manifest.json").read_text())
    assert {s["name"]: s["status"] for s in manifest["scenes"]} == {
        "junk": "failed",
        "room": "done",
    }
    scene = load_scene(out / "room" / "scene.npz")
    np.testing.assert_allclose(scene.w2c[:, :3, 3], expected(scenes / "room")[1], atol=1e-6)
