"""What is wrong with a recorded file is said in one sentence that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zipmap_jax.errors import UserError
from zipmap_jax.parity.check import CHECKERS, check


def refusing(arrays: Any, meta: Any) -> list[Any]:
    raise UserError("size 'medium' is unknown")


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHECKERS, "nothing", lambda arrays, meta: [])
    monkeypatch.setitem(CHECKERS, "refusing", refusing)


def recorded(folder: Path, **arrays: Any) -> Path:
    path = folder / "recorded.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ('{"kind": "nothing"}', "none of its arrays is a recorded output of kind 'nothing'"),
        ('{"kind": "refusing"}', "size 'medium' is unknown"),
        ('{"kind": "other"}', "unknown kind 'other'"),
        ('{"kind":', "'meta' is not valid JSON"),
        ("[1]", "'meta' must be a JSON object, got list"),
    ],
)
def test_bad_configurations(meta: str, message: str, tmp_path: Path) -> None:
    path = recorded(tmp_path, meta=np.array(meta))
    with pytest.raises(ValueError, match=message) as error:
        check(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("manifest", [{}, {"files": {}}, {"files": {"recorded.npz": 3}}, [1]])
def test_bad_manifests(manifest: Any, tmp_path: Path) -> None:
    path = recorded(tmp_path, x=np.zeros(1))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"no configuration|must be a JSON object"):
        check(path)
