"""The comparison on which every recorded test relies."""

from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.parity.report import Criterion, Tolerance, compare

CRITERIA: tuple[Criterion, ...] = ("max", "rms")


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_beyond_any_tolerance(
    criterion: Criterion, wrong: float
) -> None:
    recorded = np.ones((4, 5))
    actual = recorded.copy()
    actual[1, 2] = wrong
    tolerance = Tolerance(1e6, criterion, ignored=1e6)
    assert not compare("x", actual, recorded, tolerance).ok
    assert compare("x", recorded, recorded, tolerance).ok


def test_one_wrong_value_counts_fully_by_max_and_as_a_mean_square_by_rms() -> None:
    recorded = np.full(100, 2.0)
    actual = recorded.copy()
    actual[7] -= 0.5
    by_max = compare("x", actual, recorded, Tolerance(0.1, "max"))
    by_rms = compare("x", actual, recorded, Tolerance(0.1, "rms"))
    assert (by_max.error, by_max.ok) == (pytest.approx(0.25), False)
    assert (by_rms.error, by_rms.ok) == (pytest.approx(0.025), True)
    assert by_max.maximum == by_rms.maximum == 0.5
    ignored = compare("x", actual, recorded, Tolerance(0.1, "max", ignored=0.4))
    assert (ignored.error, ignored.ok) == (pytest.approx(0.05), True)


def test_another_shape_is_beyond_any_tolerance() -> None:
    assert not compare("x", np.ones(3), np.ones((3, 1)), Tolerance(1e6)).ok
