from __future__ import annotations

import dataclasses
import inspect
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zipmap_jax.convert import hub
from zipmap_jax.convert.checkpoint import CARD, WEIGHTS, make_card, save
from zipmap_jax.convert.hub import embedded, find, load
from zipmap_jax.convert.identify import expected_shapes
from zipmap_jax.convert.rules import flatten
from zipmap_jax.convert.torch_writer import write_torch
from zipmap_jax.errors import UserError
from zipmap_jax.models.config import ZipMapConfig
from zipmap_jax.models.presets import preset
from zipmap_jax.nn.config import BF16, FP32


@pytest.fixture
def folder(tmp_path: Path, params: dict[str, Any], config: ZipMapConfig) -> Path:
    save(tmp_path / "model", params, make_card(config, dtype="bfloat16"))
    return tmp_path / "model"


@pytest.fixture
def assets(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder, tmp_path / "assets" / "demo")
    monkeypatch.setattr(hub, "ASSETS", tmp_path / "assets")
    return tmp_path / "assets"


def test_folder(folder: Path, config: ZipMapConfig, params: dict[str, Any]) -> None:
    loaded = load(folder, policy=BF16)
    assert loaded.model.config == config
    assert loaded.model.policy == BF16
    assert jax.tree.structure(loaded.params) == jax.tree.structure(params)
    assert loaded.params["frame_blocks"]["attn"]["qkv"]["kernel"].dtype == jnp.bfloat16
    assert loaded.card["dtype"] == "bfloat16"
    whole = load(folder)
    assert {leaf.dtype for leaf in jax.tree.leaves(whole.params)} == {np.dtype(np.float32)}


def test_fingerprint_depends_on_weights_and_not_on_formats(folder: Path) -> None:
    first = load(folder)
    assert load(folder, policy=BF16).fingerprint == first.fingerprint
    moved = dataclasses.replace(first, params=jax.tree.map(lambda x: 1.01 * x, first.params))
    assert moved.fingerprint != first.fingerprint


def test_path_of_weights_selects_their_folder(folder: Path, config: ZipMapConfig) -> None:
    assert find(folder / WEIGHTS).config == config


def test_file_of_the_reference(
    tmp_path: Path, state: dict[str, np.ndarray], params: dict[str, Any]
) -> None:
    write_torch(tmp_path / "x.pt", state)
    with pytest.warns(UserWarning, match=r"x\.pt: no preset has these shapes"):
        loaded = load(tmp_path / "x.pt")
    assert loaded.model.policy == FP32
    assert loaded.model.config.variant == "streaming"
    assert loaded.card["source"]["file"] == "x.pt"
    got = flatten(loaded.params)
    for name, leaf in flatten(params).items():
        np.testing.assert_array_equal(got[name], leaf)


def test_undetermined_variant_is_reported(tmp_path: Path) -> None:
    shapes = expected_shapes(preset("tiny"))
    write_torch(tmp_path / "x.pt", {n: np.zeros(s, np.float32) for n, s in shapes.items()})
    with pytest.warns(UserWarning, match="assumed variant offline"):
        assert load(tmp_path / "x.pt").model.config == preset("tiny")


def test_loaded_parameters_do_not_alias_the_file(folder: Path) -> None:
    loaded = load(folder)
    before = np.array(loaded.params["camera_token"])
    with (folder / WEIGHTS).open("r+b") as file:
        file.write(bytes((folder / WEIGHTS).stat().st_size))
    np.testing.assert_array_equal(loaded.params["camera_token"], before)


def test_embedded_name(assets: Path, config: ZipMapConfig) -> None:
    assert embedded("demo") == assets / "demo"
    assert load("demo").model.config == config


def test_unknown_name_lists_the_embedded_ones(assets: Path) -> None:
    del assets
    with pytest.raises(ValueError, match=r"dmo is neither .*available: demo.*check the spelling"):
        load("dmo")


def test_unknown_name_when_nothing_is_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ASSETS", tmp_path)
    with pytest.raises(ValueError, match="none is installed"):
        find("tiny")


def test_folder_without_a_checkpoint(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no card\.json"):
        find(tmp_path / "empty")
    with pytest.raises(ValueError, match="one set of weights"):
        find(folder, ema=True)


def test_the_work_directory_of_a_training_run_is_a_model(folder: Path) -> None:
    assert folder.name == "model"
    assert find(folder.parent).config == find(folder).config


class FakeHub(types.ModuleType):
    """A fake huggingface_hub that serves a local folder and records the calls."""

    def __init__(self, root: Path) -> None:
        super().__init__("huggingface_hub")
        self.root, self.calls = root, []

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str | None = None) -> str:
        self.calls.append((repo_id, filename, revision))
        if not (self.root / filename).exists():
            raise ConnectionError("404 Client Error.\n\nEntry Not Found.")
        return str(self.root / filename)


@pytest.fixture
def fake_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(folder.parent)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return fake


def test_hub_folder(fake_hub: FakeHub, config: ZipMapConfig) -> None:
    assert find("hf://owner/repo/model@v1").config == config
    names = [f"model/{CARD}", f"model/{WEIGHTS}"]
    assert fake_hub.calls == [("owner/repo", name, "v1") for name in names]


def test_hub_file(fake_hub: FakeHub, state: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_torch(tmp_path / "sub.pt", state)
    assert find("hf://owner/repo/sub.pt").config.variant == "streaming"
    assert fake_hub.calls == [("owner/repo", "sub.pt", None)]


def test_hub_failure_is_one_sentence(fake_hub: FakeHub) -> None:
    with pytest.raises(UserError, match=r"could not fetch .*\(ConnectionError: 404 Cl.*network$"):
        find("hf://owner/repo/none.pt")
    assert len(fake_hub.calls) == 1


@pytest.mark.parametrize("address", ["hf://", "hf://owner", "hf://owner/@x", "hf://owner//x.pt"])
def test_incomplete_address(address: str) -> None:
    with pytest.raises(ValueError, match="must read hf://owner/repository/file"):
        find(address)


def test_hub_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'zipmap-jax\[hub\]'"):
        find("hf://owner/repo/x.pt")


def test_huggingface_hub_accepts_our_arguments() -> None:
    real = pytest.importorskip("huggingface_hub")
    inspect.signature(real.hf_hub_download).bind("owner/repo", "x.pt", revision=None)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the name of the model is empty \(available: tiny, "):
        find("")
