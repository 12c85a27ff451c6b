"""The flag --check-shapes: annotated functions raise, records and other functions stay as written."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest

from tests.shape_checks import CheckedSource

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


@pytest.fixture(scope="module")
def module() -> dict[str, Any]:
    tree = ast.fix_missing_locations(CheckedSource().visit(ast.parse(SOURCE)))
    names: dict[str, Any] = {"__name__": "a_checked_module"}
    exec(compile(tree, "a_checked_module.py", "exec"), names)
    return names


def test_arguments_and_results_are_checked(module: dict[str, Any]) -> None:
    points = np.zeros((4, 3))
    np.testing.assert_array_equal(module["moved"](points, 1), points + 1)  # an integer is a float
    with pytest.raises(TypeError, match="parameter 'points'"):
        module["moved"](points[:, :2], 1.0)
    with pytest.raises(TypeError, match="return value"):
        module["transposed"](points)


def test_records_and_other_functions_are_left_alone(module: dict[str, Any]) -> None:
    assert module["plain"](np.zeros(3)) == 3
    assert module["Record"](points="a leaf of another kind").points == "a leaf of another kind"
