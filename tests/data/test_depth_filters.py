"""Depth filters: which pixels become invalid."""

from __future__ import annotations

import numpy as np
import pytest

from zipmap_jax.data.depth_filters import DepthFilter, clean_depth


def test_far_depth_and_tails_become_invalid() -> None:
    # Recipe: depth 0..99, max 80, 90 % -> bound 70.1.
    depth = np.arange(100, dtype=np.float32).reshape(10, 10)
    kept = DepthFilter(max_depth=80, high=90)(depth)
    np.testing.assert_array_equal(kept.ravel()[71:], 0)
    np.testing.assert_array_equal(kept.ravel()[:71], np.arange(71))
    low = DepthFilter(low=10)(depth)
    np.testing.assert_array_equal(low.ravel()[:10], 0)
    assert low[1, 0] == 10
    assert kept.dtype == np.float32


def test_percentiles_include_invalid_pixels_by_default() -> None:
    """Parity: with 5 % valid pixels, "98" removes 40 % of them and "90" none."""
    depth = np.zeros((100, 100), np.float32)
    depth.ravel()[:500] = np.linspace(1, 2, 500)

    def left(**options: object) -> float:
        return (DepthFilter(**options)(depth) > 0).sum() / 500  # type: ignore[arg-type]

    assert left(high=98) == pytest.approx(0.6, abs=0.003)
    assert left(high=90) == 1.0
    assert left(high=98, valid_only=True) == pytest.approx(0.98, abs=0.003)
    assert left(high=90, valid_only=True) == pytest.approx(0.9, abs=0.003)


def test_depth_without_a_valid_pixel_stays_empty() -> None:
    assert not DepthFilter(high=98, valid_only=True)(np.zeros((2, 2))).any()
    assert np.isnan(DepthFilter(high=98)(np.full((2, 2), np.nan))).all()
    cleaned = clean_depth(np.array([[np.nan, np.inf, -1.0, 0.0, 2.0]]))
    np.testing.assert_array_equal(cleaned, [[0, 0, 0, 0, 2]])
    assert cleaned.dtype == np.float32


def test_the_maximum_may_depend_on_a_folder() -> None:
    depth = np.array([[100.0, 500.0, 2000.0]])
    rule = DepthFilter(folder_max_depth=(("aerial", 1000), ("street", 200)))
    np.testing.assert_array_equal(rule(depth, "small_city/aerial/train/0"), [[100, 500, 0]])
    np.testing.assert_array_equal(rule(depth, "small_city/street/train/0"), [[100, 0, 0]])
    with pytest.raises(ValueError, match="a folder aerial or street, but the frame is in 'city/0'"):
        rule(depth, "city/0")
