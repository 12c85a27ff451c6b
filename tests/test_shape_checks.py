"""The flag --check-shapes: annotated functions check their arrays, others are unchanged."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shape_checks import CheckedLoader

SOURCE = """
from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def moved(points: Float[np.ndarray, "n 3"], by: float) -> Float[np.ndarray, "n 3"]:
    return points + by


def transposed(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return points.T


def plain(points: list[int]) -> int:
    return len(points)


@dataclasses.dataclass(frozen=True)
class Record:
    points: Float[np.ndarray, "n 3"]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = tmp_path / "checked.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_loader("checked", CheckedLoader("checked", str(path)))
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "checked", made)  # where dataclasses look annotations up
    spec.loader.exec_module(made)
    return made


def test_arguments_and_results_are_checked(module: Any) -> None:
    points = np.zeros((4, 3))
    np.testing.assert_array_equal(module.moved(points, 1), points + 1)  # an integer is a float
    with pytest.raises(TypeError, match="parameter 'points'"):
        module.moved(points[:, :2], 1.0)
    with pytest.raises(TypeError, match="return value"):
        module.transposed(points)


def test_records_and_other_functions_are_left_alone(module: Any) -> None:
    assert module.plain(np.zeros(3)) == 3
    assert module.Record(points="a leaf of another kind").points == "a leaf of another kind"
