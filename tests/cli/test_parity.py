"""`zipmap parity`: lines, JSON and exit codes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from zipmap_jax.cli.main import main
from zipmap_jax.parity.report import TensorComparison, Tolerance, compare

Capture = pytest.CaptureFixture[str]

GOOD = compare("depth", np.ones((2, 3)), np.ones((2, 3)), Tolerance(1e-5))
BAD = compare("pose", np.full(4, 1.1), np.ones(4), Tolerance(1e-5))
BROKEN = compare("points", np.ones(3), np.ones(4), Tolerance(1e-5))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[TensorComparison]:
    """Comparisons that every file returns."""
    rows: list[TensorComparison] = [GOOD]
    # The package attribute of that name is the function, so the module is imported by name.
    module = importlib.import_module("zipmap_jax.parity.check")
    monkeypatch.setattr(module, "check", lambda path: rows)
    return rows


def test_within_tolerance_exits_with_0(rows: list[TensorComparison], capsys: Capture) -> None:
    assert main(["parity", "a.npz", "b.npz"]) == 0
    out = capsys.readouterr().out
    assert out.count("depth") == 2
    assert out.splitlines()[-1] == "2 of 2 tensors within tolerance"


def test_beyond_tolerance_exits_with_1(rows: list[TensorComparison], capsys: Capture) -> None:
    rows.append(BAD)
    assert main(["parity", "a.npz"]) == 1
    out = capsys.readouterr().out
    assert "FAIL pose" in out
    assert out.splitlines()[-1] == "1 of 2 tensors within tolerance"


def test_json_is_valid_even_for_infinite_errors(
    rows: list[TensorComparison], capsys: Capture
) -> None:
    rows += [BAD, BROKEN]
    assert main(["parity", "a.npz", "--json"]) == 1

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    report = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert not report["ok"]
    assert [row["ok"] for row in report["files"]["a.npz"]] == [True, False, False]
    assert report["files"]["a.npz"][0]["shape"] == [2, 3]


def test_bad_files_are_errors(tmp_path: Path, capsys: Capture) -> None:
    text = tmp_path / "text.npz"
    text.write_text("not an archive")
    for argv in ([], [str(tmp_path / "nowhere.npz")], [str(text)]):
        assert main(["parity", *argv]) == 2
        err = capsys.readouterr().err
        assert ".npz" in err
        assert err.count("\n") == 1
