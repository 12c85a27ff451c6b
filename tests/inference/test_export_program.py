"""Exported programs, which run in a process without the code of the models."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.echo import echo_model
from zipmap_jax.convert.hub import LoadedModel
from zipmap_jax.geometry.depth import unproject_to_world
from zipmap_jax.geometry.pose import rebase_poses
from zipmap_jax.inference.export_program import export_program
from zipmap_jax.inference.program_file import load_program
from zipmap_jax.inference.reconstruct import predict
from zipmap_jax.models.api import in_stored_formats
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.zipmap import ZipMap
from zipmap_jax.nn.config import (
    BF16,
    CameraHeadConfig,
    DenseHeadConfig,
    EmbedderConfig,
)

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
MICRO = ZipMapConfig(
    preset="micro",
    embedder=EmbedderConfig(width=16, depth=0, heads=2, patch=4, image_size=16),
    depth=4,
    heads=2,
    taps=(0, 1, 2, 3),
    camera=CameraHeadConfig(depth=1, heads=2, iterations=1),
    dense=DenseHeadConfig(features=8, out_channels=(4, 4, 4, 4), hidden=4),
)
SERVER = """
import sys
import numpy as np
from zipmap_jax import load_program

program = load_program(sys.argv[1])
np.savez(sys.argv[3], **program(np.load(sys.argv[2])))
loaded = [name for name in sys.modules if name.startswith("zipmap_jax")]
assert not any(name.startswith(("zipmap_jax.models", "zipmap_jax.nn")) for name in loaded), loaded
assert "flax.linen" not in sys.modules
"""


@pytest.fixture(scope="module")
def micro() -> LoadedModel:
    model = ZipMap(MICRO)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda s: RNG.normal(0, 0.1, s.shape).astype(np.float32), shapes)
    params["camera_head"]["branch"]["fc2"]["bias"][6:] = 1.0
    return LoadedModel(model, params, {"name": "micro", "notes": []})


@pytest.fixture
def echo() -> LoadedModel:
    return echo_model()


def test_loaded_program_equals_predict_without_importing_models(micro, tmp_path):
    pytest.importorskip("flatbuffers")
    images = RNG.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    facts, weights = export_program(micro, tmp_path / "micro.program", views=4, size=(16, 16))
    assert facts["platforms"] == ["cpu", "cuda"]
    assert weights.parent == tmp_path
    files = [tmp_path / name for name in ("micro.program", "images.npy", "out.npz")]
    done = subprocess.run(
        [sys.executable, "-c", SERVER, *files], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    actual = np.load(tmp_path / "out.npz")
    expected = predict(micro, images)
    intrinsics, w2c = expected.intrinsics[0], rebase_poses(expected.w2c[0])
    desired = {
        "depth": expected.depth[0],
        "confidence": expected.depth_conf[0],
        "w2c": w2c,
        "intrinsics": intrinsics,
        "points": unproject_to_world(expected.depth[0], intrinsics, w2c),
    }
    assert set(actual.files) == set(desired)
    for name, value in desired.items():
        assert actual[name].shape == value.shape
        # XLA fuses the products differently.
        assert np.linalg.norm(actual[name] - value) <= 1e-5 * np.linalg.norm(value), name


@pytest.mark.slow
def test_program_in_bf16_stores_bf16_matrices(micro, tmp_path):
    pytest.importorskip("flatbuffers")
    pixels = RNG.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    images = pixels.astype(np.float32) / 255
    model = dataclasses.replace(micro.model, policy=BF16)
    coarse = LoadedModel(model, in_stored_formats(micro.params, model), micro.card)
    options = dict(views=2, size=(16, 16), input_type="float32", platforms=["cpu"])
    export_program(coarse, tmp_path / "bf16.program", **options)
    export_program(micro, tmp_path / "fp32.program", **options)
    program = load_program(tmp_path / "bf16.program")
    assert program.weights["frame_blocks/mlp/fc1/kernel"].dtype == "bfloat16"
    expected = predict(coarse, pixels)
    for name, value in (("depth", expected.depth[0]), ("confidence", expected.depth_conf[0])):
        np.testing.assert_allclose(program(images)[name], value, rtol=2e-2)
    with pytest.raises(ValueError, match=r"fp32\.program needs .* in float32, got bfloat16"):
        load_program(tmp_path / "fp32.program", program.weights)
    finer = load_program(tmp_path / "fp32.program")
    again = load_program(tmp_path / "bf16.program", finer.weights)
    np.testing.assert_array_equal(again(images)["depth"], program(images)["depth"])


def test_programs_share_weights_and_refuse_wrong_images(echo, tmp_path):
    pytest.importorskip("flatbuffers")
    model = echo
    for views, input_type in ((2, "uint8"), (3, "float32")):
        path = tmp_path / f"{views}.program"
        export_program(model, path, views=views, size=(8, 12), input_type=input_type)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    first = load_program(tmp_path / "2.program")
    second = load_program(tmp_path / "3.program", first.weights)
    assert second.weights["tail"] is first.weights["tail"]
    images = RNG.integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
    out = first(images)
    np.testing.assert_allclose(out["depth"], 1 + images[..., 0] / 255, rtol=1e-6)
    np.testing.assert_array_equal(out["w2c"][:, 0, 3], [0, 1])
    scaled = second(images.astype(np.float32) / 255)
    np.testing.assert_allclose(scaled["points"], out["points"], rtol=1e-5)
    for wrong in (images[0], images[:, :4], images[:0], images.repeat(2, 0), images / 255):
        with pytest.raises(ValueError, match=r"takes 1 to 2 images as uint8 .* resize or convert"):
            first(wrong)


def test_several_scenes_equal_single_ones(micro, tmp_path):
    """Two scenes of three and one views in a program of three scenes of four views."""
    pytest.importorskip("flatbuffers")
    options = dict(views=4, size=(16, 16), platforms=["cpu"])
    export_program(micro, tmp_path / "one.program", **options)
    facts, _ = export_program(micro, tmp_path / "three.program", scenes=3, **options)
    assert facts["scenes"] == 3
    assert facts["outputs"]["depth"].startswith("[scenes, views, height, width]")
    one = load_program(tmp_path / "one.program")
    three = load_program(tmp_path / "three.program", one.weights)
    images = RNG.integers(0, 256, (2, 3, 16, 16, 3), dtype=np.uint8)
    valid = np.array([[True, True, True], [True, False, False]])
    together = three(images, valid)
    for scene, count in ((0, 3), (1, 1)):
        for name, value in one(images[scene, :count]).items():
            actual = together[name][scene, :count]
            assert together[name].shape[:2] == (2, 3)
            # Sums over tokens in another order.
            assert np.linalg.norm(actual - value) <= 1e-5 * np.linalg.norm(value), name
    for wrong in (images[0], images.repeat(2, 0), images[:, :0], images.astype(np.float32)):
        with pytest.raises(ValueError, match=r"takes 1 to 3 scenes of 1 to 4 images .* \(scenes,"):
            three(wrong)
    for mask in (valid[:1], ~valid, valid.astype(int)):
        with pytest.raises(ValueError, match="True for the first image of a scene, got"):
            three(images, mask)


def test_bad_files_are_refused(echo, tmp_path):
    pytest.importorskip("flatbuffers")
    path = tmp_path / "a.program"
    _, weights = export_program(echo, path, views=2, size=(8, 8), platforms=("cuda",))
    with pytest.raises(ValueError, match=r"exported for cuda, .* export it with --platforms cpu"):
        load_program(path)
    export_program(echo, path, views=2, size=(8, 8), platforms=("cpu",))
    with pytest.raises(ValueError, match=r"needs tail of shape \(6,\), got no such weight"):
        load_program(path, {})
    with pytest.raises(ValueError, match=r"needs tail .* got \(3,\)"):
        load_program(path, {"tail": np.zeros(3)})  # type: ignore[dict-item]
    weights.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"is no safetensors file, or truncated or damaged"):
        load_program(path)
    weights.unlink()
    with pytest.raises(ValueError, match="are missing: copy them to the folder of the program"):
        load_program(path)
    with zipfile.ZipFile(path) as archive:
        facts = json.loads(archive.read("program.json"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("program.json", json.dumps({**facts, "format": 99}))
        archive.writestr("program.bin", b"")
    with pytest.raises(ValueError, match="has format 99"):
        load_program(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not an exported program or is damaged"):
        load_program(path)
    with pytest.raises(ValueError, match="nothing does not exist"):
        load_program(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(views=0), "views must be at least 1"),
        (dict(chunk=0), "chunk must be at least 1"),
        (dict(scenes=0), "scenes must be at least 1, got 0: try 1"),
        (dict(size=(8, 9)), r"multiples of the patch size 4 .* got 8x9: try 8x8"),
        (dict(size=(4, 8)), "at least 8"),
        (dict(platforms=("gpu",)), "unknown platform 'gpu': choose among cpu, cuda"),
        (dict(platforms=()), "unknown platform ''"),
    ],
)
def test_bad_options_are_refused(echo, tmp_path, options, words):
    pytest.importorskip("flatbuffers")
    arguments = dict(views=2, size=(8, 8)) | options
    with pytest.raises(ValueError, match=words):
        export_program(echo, tmp_path / "x" / "a.program", **arguments)
    assert not (tmp_path / "x").exists()


def test_missing_flatbuffers_names_the_extra(echo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ImportError, match=r"pip install 'zipmap-jax\[export\]'"):
        export_program(echo, tmp_path / "a.program", views=2, size=(8, 8))
    with pytest.raises(ImportError, match=r"pip install 'zipmap-jax\[export\]'"):
        load_program(tmp_path / "a.program")
