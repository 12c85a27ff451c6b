from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zipmap_jax.convert.checkpoint import CARD, WEIGHTS, make_card, read, save
from zipmap_jax.convert.command import convert_command
from zipmap_jax.convert.rules import flatten, nest
from zipmap_jax.convert.safetensors_file import read_safetensors
from zipmap_jax.models.config import ZipMapConfig


@pytest.fixture
def folders(tmp_path: Path, params: dict[str, Any], config: ZipMapConfig) -> Path:
    tuned = flatten(params)
    tuned |= {n: np.asarray(x) + 1 for n, x in tuned.items() if n.startswith("depth_head/")}
    save(tmp_path / "base", params, make_card(config))
    save(tmp_path / "tuned", nest(tuned), make_card(config, notes=["tuned"]))
    return tmp_path


def test_shared_tensors_are_stored_once(folders: Path) -> None:
    report = convert_command(folders / "tuned", folders / "small", share_with=str(folders / "base"))
    own = read_safetensors(folders / "small" / WEIGHTS)
    assert own
    assert all(name.startswith("depth_head/") for name in own)
    assert f"{len(own)} own" in report
    expected, _ = read(folders / "tuned")
    got, card = read(folders / "small")
    assert card["notes"] == ["tuned"]
    a, b = flatten(expected), flatten(got)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_both_folders_may_move_together(folders: Path) -> None:
    convert_command(folders / "tuned", folders / "small", share_with=str(folders / "base"))
    shutil.copytree(folders, folders.parent / "elsewhere")
    shutil.rmtree(folders / "base")
    read(folders.parent / "elsewhere" / "small")
    with pytest.raises(ValueError, match="missing or was modified"):
        read(folders / "small")


def test_a_changed_base_is_noticed(
    folders: Path, params: dict[str, Any], config: ZipMapConfig
) -> None:
    convert_command(folders / "tuned", folders / "small", share_with=str(folders / "base"))
    other = nest({name: np.asarray(x) * 2 for name, x in flatten(params).items()})
    save(folders / "base", other, make_card(config), force=True)
    with pytest.raises(ValueError, match="missing or was modified"):
        read(folders / "small")


def test_folders_are_not_overwritten_and_may_be_links(folders: Path) -> None:
    for name in ("base", "tuned"):
        with pytest.raises(ValueError, match="one of the folders to read"):
            convert_command(
                folders / "tuned", folders / name, share_with=str(folders / "base"), force=True
            )
    (folders / "deep" / "er").mkdir(parents=True)
    (folders / "link").symlink_to(folders / "deep" / "er")
    convert_command(folders / "tuned", folders / "link" / "x", share_with=str(folders / "base"))
    read(folders / "link" / "x")


def test_embedded_models_are_no_base_for_other_folders(folders: Path) -> None:
    with pytest.raises(ValueError, match="may change with it"):
        convert_command(folders / "tuned", folders / "small", share_with="tiny")
    with pytest.raises(ValueError, match="leave to, variant"):
        convert_command(
            folders / "tuned", folders / "x", share_with=str(folders / "base"), dtype="bfloat16"
        )


def test_incompatible_models_cannot_share(
    folders: Path, params: dict[str, Any], config: ZipMapConfig
) -> None:
    save(folders / "half", params, make_card(config, dtype="bfloat16"))
    with pytest.raises(ValueError, match="one number format"):
        convert_command(folders / "half", folders / "out", share_with=str(folders / "base"))
    changed = nest({name: np.asarray(x) + 1 for name, x in flatten(params).items()})
    save(folders / "other", changed, make_card(config))
    with pytest.raises(ValueError, match="no tensor in common"):
        convert_command(folders / "other", folders / "out", share_with=str(folders / "base"))
    convert_command(folders / "tuned", folders / "small", share_with=str(folders / "base"))
    with pytest.raises(ValueError, match="name that one"):
        convert_command(folders / "base", folders / "out", share_with=str(folders / "small"))
    card = json.loads((folders / "small" / CARD).read_text())
    (folders / "small" / CARD).write_text(json.dumps(card | {"base": "../base"}))
    with pytest.raises(ValueError, match="odd entry base"):
        read(folders / "small")
